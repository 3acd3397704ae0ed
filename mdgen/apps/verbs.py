"""The verbs of the `mdgen` command, each with what it does and examples."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verb:
    """A verb's one line, its explanation, its examples as a shell takes them, and keys that may be left out."""

    summary: str
    explanation: str
    examples: str
    positional: tuple[str, ...] = ()


VERBS = {
    "simulate": Verb(
        "run molecular dynamics of many replicas at once",
        """Builds a system (a peptide from its sequence, a molecule from PDB, AMBER, GROMACS or CHARMM files, or
        particles in any potential), simulates many replicas of it at once and writes their trajectories to a store that
        every verb reads. Stop with Ctrl-C; the same command continues.""",
        """mdgen simulate system.sequence=A n_replicas=64 length_ns=2 output=runs/ala_md
        mdgen simulate system=pdb system.pdb=my.pdb output=runs/mine
        mdgen simulate --multirun system.sequence=@peptides.txt hydra/launcher=joblib output=runs/peptides""",
    ),
    "train": Verb(
        "train one part: an encoder, a propagator or a decoder",
        """Trains one part on trajectories. The encoder comes first; the propagator and the decoder live in its latent
        space and name its run. Parts that have nothing to learn, such as SE(3) tokens, are made in the same run, which
        is then a model that generates.""",
        r"""mdgen train encoder=srv data.trajectories=runs/ala_md data.fraction=[0,0.5] output=runs/ala_encoder
        mdgen train propagator=mdn encoder_run=runs/ala_encoder output=runs/ala_propagator
        mdgen train decoder=cwgan encoder_run=runs/ala_encoder output=runs/ala_decoder
        mdgen train encoder=se3_tokens propagator=interpolant decoder=se3_tokens \
          data.trajectories='md/*.xtc' data.topology=my.pdb output=runs/model""",
    ),
    "generate": Verb(
        "compose trained parts and generate new trajectories",
        """Composes an encoder, a propagator and a decoder that were trained apart, and generates many trajectories at
        once, block by block to disk: forward from a start (task=rollout), between two structures (interpolate), between
        the frames of coarse trajectories (upsample), or around known tokens (inpaint); or tells which residues lie
        between known ones (design). A propagator that steps from one frame to the next, as mdn, simulates forward
        only. model=... names a run that trained all three parts, or a model that comes with mdgen
        (alanine_dipeptide_tokens, tetrapeptides; alanine_dipeptide_inpainting, tetrapeptides_inpainting).""",
        r"""mdgen generate encoder_run=runs/ala_encoder propagator_run=runs/ala_propagator \
          decoder_run=runs/ala_decoder length_ns=10 output=runs/ala_generated
        mdgen generate model=alanine_dipeptide_tokens pdb=my.pdb frame_spacing_ps=50 length_ns=100
        mdgen generate model=runs/model task=interpolate start=a.pdb end=b.pdb length_ns=1
        mdgen generate model=runs/model task=upsample coarse=runs/coarse factor=10""",
    ),
    "export": Verb(
        "write the trajectories of a run as files of other programs",
        """Writes trajectory-NNNN.xtc (or dcd, h5, pdb) and topology.pdb, which mdtraj, MDAnalysis, VMD and PyMOL read,
        with the periodic box where there is one. Atoms are chosen as in mdtraj. A run that goes on is written as far
        as it went.""",
        """mdgen export runs/ala_md
        mdgen export runs/box to=dcd atoms="not water" stride=10 output=files""",
        positional=("run",),
    ),
    "evaluate": Verb(
        "judge trajectories against others and write a report",
        """Judges any trajectories against any others of the same molecule, whoever made them: metrics.json and a
        self-contained report.html. system=... names a force field for energies, seeds=[...] further training seeds.
        Every key, row and metric of metrics.json is explained in mdgen/evaluation/metrics.md.""",
        r"""mdgen evaluate reference.trajectories=runs/ala_md reference.fraction=[0.5,1] \
          generated.trajectories=runs/ala_generated output=runs/ala_report   # the half that was not trained on
        mdgen evaluate reference.trajectories='md/*.xtc' reference.topology=my.pdb \
          generated.trajectories='model/*.xtc' generated.topology=my.pdb output=runs/report
        mdgen evaluate pairs=FOLDER output=runs/all   # a folder per molecule: reference*, generated*, topology.*""",
    ),
    "adapt": Verb(
        "simulate in rounds of short runs that start where the kinetics are least known",
        """Each round simulates many short runs, fits an encoder and a Markov state model to all rounds, and starts the
        next where the latent was seen least (choice=counts) or that the slowest timescale hangs on most
        (uncertainty), until the timescales have settled or n_rounds are done. Timescales and weights.npy, the weight of
        each frame in equilibrium, are unbiased by the choice of starts: transitions are counted within each run only.
        Settled says nothing of states that no run has visited. Stop with Ctrl-C; the same command continues.""",
        """mdgen adapt simulate.system.sequence=A output=runs/ala_adapt
        mdgen adapt simulate.system.sequence=IPGD choice=uncertainty n_rounds=50 output=runs/ipgd_adapt
        mdgen adapt simulate.start=runs/ala_generated/trajectory-0000.h5 encoder=srv""",
    ),
    "reweight": Verb(
        "weigh frames of one ensemble as samples of another, by the energies of both",
        """Takes frames of dynamics or of a model as samples of their own ensemble, and weighs each by exp(U_A / kT_A -
        U_B / kT_B) for another temperature, force field (sampled_system names their own) or added potential. Writes
        weights.npy, free energies with intervals, and the effective sample size; too little overlap is refused. The
        error of a model is not corrected: how probable it makes a frame is not known, and what it never makes has no
        weight.""",
        r"""mdgen reweight generated.trajectories=runs/ala_generated temperature_K=480 output=runs/reweighted
        mdgen reweight generated.trajectories=runs/ala_generated system.force_field=amber14 \
          system@sampled_system=peptide output=runs/reweighted
        mdgen reweight generated.trajectories=runs/ala_md potential=torsion_restraint \
          'potential.atoms=[[4,6,8,14]]' 'potential.angle_rad=[-1.4]'""",
    ),
    "energy": Verb(
        "evaluate energies and forces of a structure or of trajectories, term by term",
        """Writes bond, angle, torsion, improper, Urey-Bradley, CMAP, Lennard-Jones, Coulomb, 1-4, generalised Born and
        surface energies of every frame, in kJ/mol and kcal/mol. AMBER's programs differ: they have their own Coulomb
        constant (system.coulomb=amber) and no surface term unless gbsa is set (system.surface=none), count periodic
        impropers under DIHED, and end Born radii at rgbmax. With a cutoff, Coulomb is a reaction field here, and Ewald
        sums (PME) are not computed.""",
        r"""mdgen energy system=prmtop system.prmtop=my.prmtop system.coordinates=my.rst7 system.solvent=obc2 \
          system.surface=none system.coulomb=amber forces=true output=energy.json   # as igb=5
        mdgen energy system.sequence=IPGD system.solvent=gbn2 check=true output=energy.json
        mdgen energy system=pdb system.pdb=my.pdb data.trajectories=runs/mine output=energy.json""",
    ),
    "compare": Verb(
        "say which differences between two evaluations exceed their intervals",
        "Reads the metrics.json of two evaluations of one molecule and lists every metric, those that differ first.",
        "mdgen compare runs/report_a runs/report_b",
        positional=("first", "second"),
    ),
    "verify": Verb(
        "compare everything in a run folder with its checksums",
        """Every chunk of frames, checkpoint and model carries a checksum, and a finished run lists those of all its
        files. Names each file that is missing or not as it was written; the exit status is then 2.""",
        "mdgen verify runs/ala_md",
        positional=("run",),
    ),
    "benchmark": Verb(
        "run an experiment with a known answer",
        "Runs a suite and writes one JSON file that ends in its acceptance.",
        """mdgen benchmark suite=four_wells output=four_wells.json   # encoder and propagator on an exact chain
        mdgen benchmark suite=validation output=validation.json   # the engine's checks
        mdgen benchmark suite=md output=speed.json                # speed beside OpenMM and TorchMD
        mdgen benchmark experiment=charge_recovery output=charges.json   # gradients through the dynamics""",
    ),
    "demo": Verb(
        "all of it: simulate, train three parts, generate, evaluate",
        """Runs the whole chain on alanine dipeptide, or on trajectories of your own molecule, and ends with
        report.html. Each step is a run folder of its own; a step that is done is not done again.""",
        """mdgen demo
        mdgen demo experiment=tokens_alanine_dipeptide output=runs/tokens
        mdgen demo data.trajectories='my/*.dcd' data.topology=my.pdb data.frame_spacing_ps=1 output=runs/mine""",
    ),
}

RUN_FOLDER_VERBS = ("simulate", "train", "generate", "evaluate", "reweight", "adapt", "demo")
"""Those that write a run folder, so that one command can make many runs of them."""
