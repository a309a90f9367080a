"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const data = JSON.parse(at("data").textContent);
  const canvas = at("canvas"), list = at("list"), details = at("details"), search = at("search");
  const states = new Map(data.states.map((state) => [state.id, state]));
  const drawn = new Map([...canvas.querySelectorAll("g[id]")].map((group) => [group.id, group]));
  let chosen = null;

  // Whatever a machine says becomes text, never markup.
  const make = (tag, names, ...inside) => {
    const element = document.createElement(tag);
    if (names) element.className = names;
    element.append(...inside);
    return element;
  };
  // Signs that nobody sees, and that can turn the words around them, are spelled out: what is read in a review must be what is there.
  const code = (sign) => `⟦U+${sign.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟧`;
  const seen = (text) => text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (sign) => ("\n\t\u200c\u200d".includes(sign) ? sign : code(sign)));
  const words = (tag, names, text) => Object.assign(make(tag, names, seen(text)), { dir: "auto" });

  // ── pan and zoom: the view is the picture's viewBox ──
  const whole = canvas.viewBox.baseVal;
  const all = { x: 0, y: 0, width: whole.width, height: whole.height };
  const scale = () => Math.min(canvas.clientWidth / whole.width, canvas.clientHeight / whole.height);
  const show = (x, y, width, height) => canvas.setAttribute("viewBox", [x, y, width, height].map((n) => n.toFixed(2)).join(" "));
  const fit = () => show(all.x, all.y, all.width, all.height);
  const point = (event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(canvas.getScreenCTM().inverse());
  const zoom = (factor, centre) => {
    const to = Math.min(6, Math.max(0.05, scale() * factor)) / scale();
    show(centre.x - (centre.x - whole.x) / to, centre.y - (centre.y - whole.y) / to, whole.width / to, whole.height / to);
  };
  const middle = () => ({ x: whole.x + whole.width / 2, y: whole.y + whole.height / 2 });
  const centre = (group, least = 0.95, down = 0.5) => {
    const box = group.getBBox(), there = new DOMPoint(box.x + box.width / 2, box.y + box.height / 2);
    const spot = there.matrixTransform(group.getCTM()).matrixTransform(canvas.getCTM().inverse());
    const size = Math.max(scale(), least), width = canvas.clientWidth / size, height = canvas.clientHeight / size;
    show(spot.x - width / 2, spot.y - height * down, width, height);
  };
  const pointers = new Map();
  let moved = 0;
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0016)), point(event));
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    pointers.set(event.pointerId, event);
    if (pointers.size === 1) moved = 0;
  });
  addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const others = [...pointers.values()].filter((other) => other.pointerId !== event.pointerId);
    const from = point(before), to = point(event);
    moved += Math.hypot(event.clientX - before.clientX, event.clientY - before.clientY);
    if (others.length) {
      const fixed = point(others[0]), apart = (a) => Math.hypot(a.x - fixed.x, a.y - fixed.y) || 1;
      zoom(apart(to) / apart(from), fixed);
    } else if (moved > 4) {
      canvas.classList.add("moving");
      show(whole.x + from.x - to.x, whole.y + from.y - to.y, whole.width, whole.height);
    }
    pointers.set(event.pointerId, event);
  });
  for (const over of ["pointerup", "pointercancel"]) {
    addEventListener(over, (event) => {
      pointers.delete(event.pointerId);
      canvas.classList.remove("moving");
    });
  }
  at("in").addEventListener("click", () => zoom(1.4, middle()));
  at("out").addEventListener("click", () => zoom(1 / 1.4, middle()));
  at("fit").addEventListener("click", fit);

  // ── one state, with everything about it ──
  const choose = (id, look = true) => {
    chosen = states.has(id) ? id : null;
    canvas.classList.toggle("chosen-one", chosen !== null);
    for (const group of drawn.values()) group.classList.remove("chosen", "near");
    details.hidden = chosen === null;
    history.replaceState(null, "", chosen ? `#${chosen}` : "#");
    if (chosen === null) return;
    drawn.get(id).classList.add("chosen");
    for (const edge of data.edges.filter((edge) => edge.from === id || edge.to === id)) {
      for (const near of [edge.id, edge.from, edge.to]) drawn.get(near)?.classList.add("near");
    }
    details.replaceChildren(...about(states.get(id)));
    details.scrollIntoView({ block: "start" });
    if (look) centre(drawn.get(id));
  };
  const titled = (title, ...inside) => (inside.length ? [make("h3", "", title), ...inside] : []);
  const folded = (title, value) => {
    const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
    return make("details", "", words("summary", "", title), words("pre", "", text));
  };
  const about = (state) => {
    const close = make("button", "", "×");
    close.title = "Close (Esc)";
    close.addEventListener("click", () => choose(null));
    const out = data.edges.filter((edge) => edge.from === state.id), into = data.edges.filter((edge) => edge.to === state.id);
    const prompts = Object.entries(state.prompts).flatMap(([variant, text]) => {
      const [, settings, body] = /^---\n([\s\S]*?)\n---\n([\s\S]*)$/.exec(text) ?? [null, "", text];
      const shown = folded(variant ? `${state.prompt}, variant ${variant}` : state.prompt, body.trim());
      shown.open = true;
      return settings ? [shown, folded("its settings and examples", settings)] : [shown];
    });
    return [
      make("div", "top", words("h2", "", state.name), close),
      words("div", `kind is-${state.style}`, state.about),
      ...state.said.map((line) => words("p", "doc", line)),
      ...(state.doc ? [words("p", "doc", state.doc)] : []),
      ...titled("Prompt", ...prompts),
      ...titled(state.verb === "runs" ? "Tools it runs" : "Tools it may pick", ...state.tools.map(tool)),
      ...titled("Replies", ...Object.entries(state.answers).map(([name, schema]) => folded(name, schema))),
      ...titled("Leads to", ...out.map((edge) => hop(edge, edge.to))),
      ...titled("Reached from", ...into.map((edge) => hop(edge, edge.from))),
      ...titled("Code", ...(state.place ? [words("code", "", state.place)] : [])),
    ];
  };
  const tool = (tool) => {
    const tags = [tool.effect, ...(tool.approval ? ["approval"] : []), ...(tool.untrusted ? ["untrusted"] : [])];
    const head = make("summary", "", words("code", "", tool.name), ...tags.map((tag) => make("span", `tag ${tag}`, tag)));
    const inside = [words("p", "doc", tool.doc)];
    if (tool.schema) inside.push(words("pre", "", JSON.stringify(tool.schema, null, 2)));
    return make("details", "", head, ...inside);
  };
  const hop = (edge, other) => {
    const state = states.get(other);
    const button = make("button", "hop", words("bdi", "outcome", edge.outcome), edge.to === other ? "→" : "←", words("bdi", "", state.name));
    if (edge.said.length) button.append(words("small", "", edge.said.join("; ")));
    button.addEventListener("click", () => choose(other));
    return button;
  };

  // ── the list, which search narrows ──
  const rows = data.states.map((state) => {
    const button = make("button", "", make("span", `dot is-${state.style}`), words("bdi", "", state.name), make("small", "", state.style));
    button.addEventListener("click", () => choose(state.id));
    list.append(make("li", "", button));
    const tools = state.tools.map((tool) => `${tool.name} ${tool.effect} ${tool.doc}`);
    const outcomes = data.edges.filter((edge) => edge.from === state.id).map((edge) => edge.outcome);
    const found = [state.name, state.about, state.doc, ...Object.values(state.prompts), ...tools, ...outcomes, ...Object.keys(state.answers)];
    return { state, button, text: found.join("\n").toLowerCase() };
  });
  search.addEventListener("input", () => {
    const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const { state, button, text } of rows) {
      const hit = wanted.every((word) => text.includes(word));
      button.parentElement.hidden = !hit;
      drawn.get(state.id)?.classList.toggle("missed", !hit);
    }
  });
  const visible = () => rows.map((row) => row.button).filter((button) => !button.parentElement.hidden);

  for (const state of data.states) {
    const group = drawn.get(state.id);
    if (!group) continue;
    const spoken = { tabindex: "0", role: "button", "aria-label": `${state.name}, ${state.about}` };
    for (const [name, value] of Object.entries(spoken)) group.setAttribute(name, value);
    group.addEventListener("click", () => moved > 4 || choose(state.id, false));
    group.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      choose(state.id);
    });
  }
  canvas.addEventListener("click", (event) => {
    if (moved <= 4 && !event.target.closest(".node")) choose(null);
  });
  const keys = { "+": () => zoom(1.4, middle()), "=": () => zoom(1.4, middle()), "-": () => zoom(1 / 1.4, middle()), "0": fit };
  addEventListener("keydown", (event) => {
    const buttons = visible(), here = buttons.indexOf(document.activeElement), typing = document.activeElement === search;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") {
      search.value = "";
      search.dispatchEvent(new Event("input"));
      choose(null);
    } else if (event.key === "Enter" && typing) {
      buttons[0]?.click();
    } else if (step && (typing || here >= 0)) {
      event.preventDefault();
      (buttons[here + step] ?? (step < 0 ? search : buttons[here])).focus();
    } else if (!typing && event.key === "/") {
      event.preventDefault();
      search.focus();
    } else if (!typing && !event.ctrlKey && !event.metaKey && !event.altKey && Object.hasOwn(keys, event.key)) {
      keys[event.key]();
    }
  });
  if (scale() < 0.6) {
    centre(drawn.get("start"), 0.8, 0.08); // too large to be read as a whole: begin at the beginning
  }
  choose(location.hash.slice(1));
})();
