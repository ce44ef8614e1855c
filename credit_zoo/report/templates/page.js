"use strict";
(() => {
  const POWER = {{ colors.power }}, MARKED = 0.35;
  const all = (selector, within = document) => Array.from(within.querySelectorAll(selector));

  // A colour as far as a number is from its neutral point: the scale of credit_zoo.lab.credit_colors.
  function paint(element, away) {
    const strength = Math.min(Math.abs(away), 1) ** POWER;
    element.style.setProperty("--s", strength.toFixed(3));
    element.style.setProperty("--hue", away < 0 ? "var(--down)" : "var(--up)");
    element.classList.toggle("more", away > 0 && strength >= MARKED);
  }

  function sortable(box) {
    const body = box.querySelector("tbody");
    if (!body) return;
    const heads = all("thead th", box), rows = Array.from(body.rows);
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") === "descending";
      heads.forEach(one => one.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = row => row.cells[column].dataset.sort;
      const compare = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === undefined || y === undefined) return (x === undefined) - (y === undefined); // what is missing comes last
        const [m, n] = [Number(x), Number(y)];
        const order = Number.isNaN(m) || Number.isNaN(n) ? x.localeCompare(y) : m - n;
        return up ? order : -order;
      };
      body.append(...rows.slice().sort(compare));
    }));
    const filters = all("[data-filter]", box), count = box.querySelector("[data-count]");
    const filter = () => {
      let shown = 0;
      for (const row of rows) {
        const fits = filters.every(one => {
          const wanted = one.value.trim().toLowerCase();
          if (!wanted) return true;
          if (one.dataset.filter === "text") return row.textContent.toLowerCase().includes(wanted);
          return (row.dataset[one.dataset.filter] || "").toLowerCase() === wanted;
        });
        row.hidden = !fits;
        shown += fits;
      }
      count.value = shown === rows.length ? `${shown} rows` : `${shown} of ${rows.length} rows`;
    };
    filters.forEach(one => one.addEventListener("input", filter));
    filter(); // a browser may bring back what was typed before
  }

  function viewer(box) {
    const data = JSON.parse(box.querySelector("[data-credit]").textContent);
    const tip = box.querySelector(".tip"), choice = {};
    const credit = (answer, rule) => rule === data.truth ? answer.truth : answer.credit[rule];
    const away = (answer, rule, i) => {
      const value = credit(answer, rule)[i];
      if (rule === data.truth) return value;
      if (choice.what === "credit") return value / (2 * Math.abs(answer.advantage));
      const scale = choice.what === "share" ? mean(credit(answer, rule)) : answer.advantage;
      return scale ? value / scale - 1 : 0;
    };
    const mean = values => values.reduce((a, b) => a + b, 0) / values.length;
    const number = (value, digits = 3) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);

    function draw() {
      all("[data-choose]", box).forEach(one => { choice[one.dataset.choose] = one.value; });
      const units = { share: "weight, mean 1; A* as it is", weight: "weight W; A* as it is", credit: "credit over 2|A|; A* as it is" };
      box.querySelector("[data-unit]").textContent = units[choice.what];
      all("[data-key] [data-away]", box).forEach(one => {
        const value = Number(one.dataset.away), end = Math.abs(value) < 1 ? "" : value < 0 ? " or less" : " or more";
        one.textContent = (choice.what === "credit" ? value : value + 1) + end;
      });
      for (const section of all("[data-answer]", box)) {
        const answer = data.answers[section.dataset.answer];
        all("[data-name]", section).forEach(one => { one.textContent = choice[one.dataset.name]; });
        for (const tokens of all(".tokens", section))
          all(".tok", tokens).forEach((token, i) => paint(token, away(answer, choice[tokens.dataset.side], i)));
      }
    }

    function told(token) {
      const i = Number(token.dataset.i), answer = data.answers[token.closest("[data-answer]").dataset.answer];
      const before = answer.value + answer.truth.slice(0, i).reduce((a, b) => a + b, 0);
      const lines = [`“${token.textContent}”, token ${i + 1} of ${answer.role.length}: ${answer.role[i] || "no role"}${answer.error[i] ? ", first error" : ""}`];
      for (const rule of new Set([choice.left, choice.right])) {
        if (rule === data.truth) continue;
        const value = credit(answer, rule)[i];
        lines.push(`${rule}: credit ${number(value)}, weight ${(value / answer.advantage).toFixed(3)}`);
      }
      lines.push(`A*: ${number(answer.truth[i])}, chance of a right answer ${Math.max(0, before).toFixed(2)} → ${Math.max(0, before + answer.truth[i]).toFixed(2)}`);
      return lines.join("\n");
    }

    function show(token) {
      hide();
      tip.textContent = told(token);
      tip.hidden = false;
      const at = token.getBoundingClientRect(), size = tip.getBoundingClientRect();
      const above = at.top - size.height - 8;
      tip.style.left = `${Math.max(8, Math.min(at.left, innerWidth - size.width - 8))}px`;
      tip.style.top = `${above > 8 ? above : at.bottom + 8}px`;
      all(`.tok[data-i="${token.dataset.i}"]`, token.closest("[data-answer]")).forEach(one => one.classList.add("same"));
    }

    function hide() {
      tip.hidden = true;
      all(".tok.same", box).forEach(one => one.classList.remove("same"));
    }

    const token = event => event.target.closest(".tokens .tok");
    box.addEventListener("pointerover", event => token(event) ? show(token(event)) : hide());
    box.addEventListener("pointerleave", hide);
    box.addEventListener("focusin", event => { if (token(event)) show(token(event)); });
    box.addEventListener("focusout", hide);
    box.addEventListener("keydown", event => {
      const here = token(event), steps = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity };
      if (event.key === "Escape") hide();
      if (!here || !(event.key in steps)) return;
      event.preventDefault();
      const row = all(".tok", here.parentNode);
      const next = row[Math.max(0, Math.min(row.length - 1, row.indexOf(here) + steps[event.key]))];
      here.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
    all("[data-choose]", box).forEach(one => one.addEventListener("input", draw));
    box.querySelector("form").addEventListener("submit", event => event.preventDefault());
    draw();
  }

  all("[data-table]").forEach(sortable);
  all("[data-viewer]").forEach(viewer);
  all(".key [data-away]").forEach(one => paint(one, Number(one.dataset.away)));
  all("table.heat").forEach(table => all("td[data-value]", table).forEach(cell => paint(cell, Number(cell.dataset.value) - Number(table.dataset.neutral))));
})();
