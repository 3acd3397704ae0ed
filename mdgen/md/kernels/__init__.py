"""Compiled dynamics of many replicas of one small molecule."""
