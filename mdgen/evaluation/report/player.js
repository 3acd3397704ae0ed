/* Turns and plays two animations of one molecule side by side, on plain canvases: drag to turn, wheel or pinch to zoom. */
(() => {
  const root = document.getElementById("player");
  const animation = JSON.parse(document.getElementById("animation").textContent);
  const decode = (text) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return new Int16Array(bytes.buffer);
  };
  const colours = { H: [236, 238, 241], C: [92, 98, 110], N: [58, 110, 220], O: [222, 60, 50], S: [230, 180, 40],
                    P: [240, 140, 40], F: [120, 200, 120], Cl: [70, 180, 70] };
  const radii = { H: 0.032, default: 0.05 };
  const atoms = animation.elements.length;
  const views = animation.views.map((view) => ({
    ...view, positions: decode(view.positions), canvas: root.querySelector(`canvas[data-view="${view.name}"]`) }));
  const frames = Math.min(...views.map((view) => view.positions.length / (3 * atoms)));
  let turn = [1, 0, 0, 0, 1, 0, 0, 0, 1], zoom = 1, frame = 0, playing;

  const multiply = (a, b) => {
    const c = new Array(9).fill(0);
    for (let i = 0; i < 3; i++) for (let j = 0; j < 3; j++) for (let k = 0; k < 3; k++) c[3 * i + j] += a[3 * i + k] * b[3 * k + j];
    return c;
  };
  const about = (axis, angle) => {
    const c = Math.cos(angle), s = Math.sin(angle);
    return axis === "x" ? [1, 0, 0, 0, c, -s, 0, s, c] : [c, 0, s, 0, 1, 0, -s, 0, c];
  };
  turn = multiply(about("x", 0.3), about("y", 0.3));

  const draw = (view) => {
    const canvas = view.canvas, ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * ratio)) { canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio); }
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const scale = zoom * 0.5 * Math.min(width, height) / animation.radius, points = [];
    for (let i = 0; i < atoms; i++) {
      const o = 3 * (frame * atoms + i), p = view.positions;
      const x = p[o] / 1000, y = p[o + 1] / 1000, z = p[o + 2] / 1000;
      points.push([turn[0] * x + turn[1] * y + turn[2] * z, turn[3] * x + turn[4] * y + turn[5] * z, turn[6] * x + turn[7] * y + turn[8] * z]);
    }
    const parts = points.map((p, i) => [p[2], i, -1]);
    for (const [a, b] of animation.bonds) parts.push([(points[a][2] + points[b][2]) / 2 - 0.02, a, b]);
    parts.sort((a, b) => a[0] - b[0]);
    const place = (p) => [width / 2 + scale * p[0], height / 2 - scale * p[1]];
    const shade = (colour, depth, lift) => {
      const fog = Math.max(0, Math.min(0.55, 0.28 - 0.45 * depth / animation.radius));
      return `rgb(${colour.map((c) => Math.round((c + (255 - c) * lift) * (1 - fog) + 246 * fog)).join(",")})`;
    };
    context.lineCap = "round";
    for (const [depth, a, b] of parts) {
      const [x, y] = place(points[a]);
      if (b >= 0) {
        const [u, v] = place(points[b]);
        context.lineWidth = Math.max(1.5, 0.024 * scale);
        for (const [atom, fx, fy] of [[a, x, y], [b, u, v]]) {
          context.strokeStyle = shade(colours[animation.elements[atom]] || [150, 110, 190], depth, 0);
          context.beginPath(); context.moveTo(fx, fy); context.lineTo((x + u) / 2, (y + v) / 2); context.stroke();
        }
      } else {
        const radius = Math.max(2, scale * (radii[animation.elements[a]] || radii.default)), colour = colours[animation.elements[a]] || [150, 110, 190];
        const light = context.createRadialGradient(x - radius / 3, y - radius / 3, radius / 8, x, y, radius);
        light.addColorStop(0, shade(colour, depth, 0.55));
        light.addColorStop(1, shade(colour, depth, 0));
        context.fillStyle = light;
        context.beginPath(); context.arc(x, y, radius, 0, 2 * Math.PI); context.fill();
        context.lineWidth = 0.7; context.strokeStyle = "rgba(30,34,42,0.35)"; context.stroke();
      }
    }
  };

  const slider = root.querySelector("input"), button = root.querySelector("button"), clock = root.querySelector("output");
  const show = () => {
    views.forEach(draw);
    slider.value = frame;
    clock.textContent = `${(frame * animation.spacing_ps).toPrecision(3)} ps`;
    root.dataset.frame = frame;
  };
  const step = () => {
    frame = (frame + 1) % frames;
    show();
  };
  button.addEventListener("click", () => {
    playing = playing ? clearInterval(playing) : setInterval(step, 60);
    button.textContent = playing ? "Pause" : "Play";
  });
  slider.max = frames - 1;
  slider.addEventListener("input", () => { frame = Number(slider.value); show(); });
  const pointers = new Map();
  for (const { canvas } of views) {
    canvas.addEventListener("pointerdown", (event) => {
      pointers.set(event.pointerId, [event.clientX, event.clientY]);
      try { canvas.setPointerCapture(event.pointerId); } catch { /* a synthetic pointer */ }
    });
    canvas.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId);
      if (!before) return;
      if (pointers.size === 1) {
        turn = multiply(multiply(about("x", 0.01 * (event.clientY - before[1])), about("y", 0.01 * (event.clientX - before[0]))), turn);
      } else {
        const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
        const distance = (p) => Math.hypot(p[0] - other[0], p[1] - other[1]) || 1;
        zoom = Math.max(0.3, Math.min(5, zoom * distance([event.clientX, event.clientY]) / distance(before)));
      }
      pointers.set(event.pointerId, [event.clientX, event.clientY]);
      show();
    });
    for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, (event) => pointers.delete(event.pointerId));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      zoom = Math.max(0.3, Math.min(5, zoom * Math.exp(-0.001 * event.deltaY)));
      show();
    }, { passive: false });
  }
  window.addEventListener("resize", show);
  show();
})();
