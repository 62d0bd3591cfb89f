
// The table of all buckets and the map of the storage. Everything in `data` but the numbers comes
// from outside: it becomes text of elements and never HTML.
(() => {
  "use strict";

  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);

  // ---- words ----

  const grouped = new Intl.NumberFormat("en-US");
  const number = (value) => grouped.format(value);
  const counted = (value, noun) => `${number(value)} ${noun}${value === 1 ? "" : "s"}`;
  const UNITS = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

  // As in the summary: cut to one decimal, not rounded up.
  function size(bytes) {
    if (bytes < 1024) return `${bytes} bytes`;
    let value = bytes / 1024;
    let unit = 0;
    while (value >= 1024 && unit < UNITS.length - 1) {
      value /= 1024;
      unit += 1;
    }
    return `${(Math.floor(value * 10) / 10).toFixed(1)} ${UNITS[unit]}`;
  }

  // Something is never said to be nothing, nor a part to be all.
  function share(part, whole) {
    if (!whole) return "";
    const tenths = Math.round((part / whole) * 1000);
    if (tenths === 0 && part > 0) return "< 0.1 %";
    if (tenths === 1000 && part < whole) return "> 99.9 %";
    return `${(tenths / 10).toFixed(1)} %`;
  }

  function element(name, attributes, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (value === true) made.setAttribute(key, "");
      else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
    }
    // Strings become text nodes.
    made.append(...children);
    return made;
  }

  const say = (text) => {
    byId("said").textContent = text;
  };

  // ---- all buckets ----

  const PAGE = 200;

  const buckets = data.buckets.map(([account, bucket, region, status, objects, bytes, why]) => {
    const [statusName, isCovered] = data.statuses[status];
    const [said, needs, remedy] = why === undefined ? [] : data.reasons[why];
    return {
      account: data.accounts[account],
      bucket,
      region: data.regions[region],
      status: statusName,
      isCovered,
      // What is not covered is not known to be empty.
      objects: isCovered ? objects : -1,
      bytes: isCovered ? bytes : -1,
      why: said ?? "",
      // What is said, what is missing, what to do.
      reason: [said, needs, data.remedies[remedy]].filter(Boolean),
    };
  });

  function bucketTable() {
    if (!buckets.length) return;
    const search = byId("search");
    const filter = byId("status");
    const rows = byId("rows");
    const more = byId("more");
    const heads = [...document.querySelectorAll("[data-sort]")];
    let sorted = buckets;
    let found = buckets;
    let shown = 0;

    const inStatus = (name) => buckets.filter((row) => row.status === name).length;
    const missing = buckets.filter((row) => !row.isCovered).length;
    const option = (value, text) => filter.append(element("option", { value }, text));
    option("", `all (${number(buckets.length)})`);
    if (missing) option("!", `not covered (${number(missing)})`);
    for (const [name] of data.statuses) {
      const holds = inStatus(name);
      if (holds) option(name, `${name} (${number(holds)})`);
    }

    // One text for each row to search in, made when it is first needed.
    let texts = null;
    function matches() {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const status = filter.value;
      if (words.length && !texts) {
        texts = new Map();
        for (const row of buckets) {
          const parts = [row.bucket, row.account, row.region, row.status, ...row.reason];
          texts.set(row, parts.join("\n").toLowerCase());
        }
      }
      return sorted.filter((row) => {
        if (status === "!" ? row.isCovered : status && row.status !== status) return false;
        if (!words.length) return true;
        const text = texts.get(row);
        return words.every((word) => text.includes(word));
      });
    }

    function rowOf(row) {
      const why = element("td", {}, ...row.reason.map((part) => element("p", {}, part)));
      return element(
        "tr",
        row.isCovered ? {} : { class: "short" },
        element("td", {}, row.bucket),
        element("td", {}, row.account),
        element("td", {}, row.region),
        // A long status may be broken between its words.
        element("td", {}, ...row.status.split(/(?<=_)/).flatMap((word) => [word, element("wbr")])),
        element("td", { class: "number" }, row.objects < 0 ? "" : number(row.objects)),
        element("td", { class: "number", title: row.bytes < 0 ? null : counted(row.bytes, "byte") }, row.bytes < 0 ? "" : size(row.bytes)),
        why,
      );
    }

    function showMore() {
      const next = found.slice(shown, shown + PAGE);
      const made = document.createDocumentFragment();
      made.append(...next.map(rowOf));
      rows.append(made);
      shown += next.length;
      const left = found.length - shown;
      more.hidden = left === 0;
      more.textContent = `Show ${number(Math.min(PAGE, left))} more of ${number(left)}`;
      const all = counted(buckets.length, "bucket");
      let told = found.length === buckets.length ? all : `${number(found.length)} of ${all}`;
      if (left) told += `, the first ${number(shown)} shown`;
      byId("matches").textContent = told;
    }

    function show() {
      found = matches();
      shown = 0;
      rows.replaceChildren();
      showMore();
    }

    function sortBy(head) {
      const key = head.dataset.sort;
      const cell = head.closest("th");
      const isNumber = key === "objects" || key === "bytes";
      const before = cell.getAttribute("aria-sort");
      // The largest numbers and the first texts are what one looks for.
      const first = isNumber ? "descending" : "ascending";
      const other = isNumber ? "ascending" : "descending";
      const order = before === first ? other : first;
      for (const each of heads) each.closest("th").removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      // Rows without a value stay at the end, whatever the order.
      const isMissing = (row) => (isNumber ? row[key] < 0 : row[key] === "");
      sorted = [...buckets].sort((a, b) => {
        const missing = isMissing(a) - isMissing(b);
        if (missing) return missing;
        if (a[key] < b[key]) return -sign;
        if (a[key] > b[key]) return sign;
        return 0;
      });
      show();
    }

    search.addEventListener("input", show);
    filter.addEventListener("change", show);
    more.addEventListener("click", () => {
      showMore();
      if (more.hidden) search.focus();
    });
    for (const head of heads) head.addEventListener("click", () => sortBy(head));
    byId("buckets").hidden = false;
    show();
  }

  // ---- the map of the storage ----

  const MAX_TILES = 30;
  const MAX_CELLS = 12;

  // A node is { name, bytes, objects, parts }: `parts` gives the nodes within, or is absent.
  function tree() {
    const prefixes = new Map(data.prefixes.map(([place, ...kept]) => [place, kept]));
    const accounts = new Map();
    buckets.forEach((row, place) => {
      if (row.bytes <= 0) return;
      if (!accounts.has(row.account)) accounts.set(row.account, []);
      const kept = prefixes.get(place);
      accounts.get(row.account).push({
        name: row.bucket,
        bytes: row.bytes,
        objects: row.objects,
        within: "top prefixes",
        parts: kept && (() => prefixesOf(kept)),
      });
    });
    const all = [...accounts].map(([name, within]) => ({
      name,
      bytes: sum(within, "bytes"),
      objects: sum(within, "objects"),
      within: "buckets",
      parts: () => within,
    }));
    return {
      name: "All accounts",
      bytes: sum(all, "bytes"),
      objects: sum(all, "objects"),
      within: "accounts",
      parts: () => all,
    };
  }

  const sum = (nodes, key) => nodes.reduce((total, node) => total + node[key], 0);

  function prefixesOf([listed, more, otherBytes, otherObjects, shortfall]) {
    const nodes = listed.map(([prefix, bytes, objects]) => ({
      name: prefix || "(keys without a prefix)",
      bytes,
      objects,
    }));
    if (otherBytes > 0) {
      const least = shortfall ? "at least " : "";
      nodes.push({ name: `${least}${number(more)} more prefixes`, bytes: otherBytes, objects: otherObjects });
    }
    return nodes;
  }

  // The largest nodes, and one for the rest, which can be opened in its turn.
  function cut(node, most) {
    const nodes = node.parts().filter((part) => part.bytes > 0);
    nodes.sort((a, b) => b.bytes - a.bytes || (a.name < b.name ? -1 : 1));
    if (nodes.length <= most) return nodes;
    const rest = nodes.slice(most - 1);
    return nodes.slice(0, most - 1).concat({
      name: `${number(rest.length)} more ${node.within}`,
      bytes: sum(rest, "bytes"),
      objects: sum(rest, "objects"),
      within: node.within,
      isRest: true,
      parts: () => rest,
    });
  }

  // Squarified: rows of tiles along the shorter side, as long as that makes them less oblong.
  function layOut(nodes, width, height) {
    const places = [];
    const total = sum(nodes, "bytes");
    if (!total || width <= 0 || height <= 0) return places;
    const scale = (width * height) / total;
    let [x, y, w, h] = [0, 0, width, height];
    let rest = nodes.map((node) => ({ node, area: node.bytes * scale }));
    const worst = (row, side) => {
      const area = row.reduce((sum, entry) => sum + entry.area, 0);
      const thick = area / side;
      return Math.max(...row.map((entry) => {
        const long = entry.area / thick;
        return Math.max(long / thick, thick / long);
      }));
    };
    while (rest.length) {
      const side = Math.min(w, h);
      let length = 1;
      while (length < rest.length && worst(rest.slice(0, length + 1), side) <= worst(rest.slice(0, length), side)) length += 1;
      const row = rest.slice(0, length);
      rest = rest.slice(length);
      const area = row.reduce((sum, entry) => sum + entry.area, 0);
      const thick = rest.length ? area / side : Math.max(w, h);
      let along = 0;
      for (const entry of row) {
        const long = rest.length ? entry.area / thick : (entry.area / area) * side;
        places.push(w >= h
          ? { node: entry.node, x, y: y + along, w: thick, h: long }
          : { node: entry.node, x: x + along, y, w: long, h: thick });
        along += long;
      }
      if (w >= h) { x += thick; w -= thick; } else { y += thick; h -= thick; }
    }
    return places;
  }

  // In percent, so that a print or another width stretches the map and loses nothing. Set by
  // property: the policy of the page refuses styles in attributes.
  function put(made, place, width, height) {
    made.style.left = `${(place.x / width) * 100}%`;
    made.style.top = `${(place.y / height) * 100}%`;
    made.style.width = `${(place.w / width) * 100}%`;
    made.style.height = `${(place.h / height) * 100}%`;
  }

  function storageMap() {
    const root = tree();
    if (!root.bytes) return;
    const box = byId("tiles");
    const trail = [root];
    byId("no-treemap").hidden = true;
    byId("treemap").hidden = false;

    function open(node) {
      trail.push(node);
      show();
      (box.querySelector("button") || byId("trail").querySelector("button")).focus();
    }

    function back(to) {
      const left = trail[to + 1];
      trail.length = to + 1;
      show();
      const tiles = [...box.querySelectorAll("button")];
      (tiles.find((tile) => tile.dataset.name === left.name) || tiles[0]).focus();
    }

    function tile(place, node) {
      const part = share(place.node.bytes, node.bytes);
      const opens = Boolean(place.node.parts);
      const made = element(opens ? "button" : "div", {
        type: opens ? "button" : null,
        class: "tile",
        "data-name": place.node.name,
        title: `${place.node.name}: ${size(place.node.bytes)}, ${part}`,
      }, element("b", {}, place.node.name), element("i", {}, `${size(place.node.bytes)}, ${part}`));
      if (place.w < 56 || place.h < 24) made.classList.add("small");
      else if (place.h < 44) made.classList.add("flat");
      const weight = place.node.bytes / node.bytes;
      if (weight > 0.2) made.classList.add("share-3");
      else if (weight > 0.05) made.classList.add("share-2");
      const [width, height] = [place.w - 12, place.h - 51];
      if (opens && !place.node.isRest && width > 60 && height > 30) {
        const cells = element("span", { class: "cells", "aria-hidden": "true" });
        for (const cell of layOut(cut(place.node, MAX_CELLS), width, height)) {
          const inner = element("span", {}, cell.w > 60 && cell.h > 20 ? cell.node.name : "");
          put(inner, cell, width, height);
          cells.append(inner);
        }
        made.append(cells);
      }
      if (opens) made.addEventListener("click", () => open(place.node));
      return made;
    }

    function drawTiles(node) {
      const [width, height] = [box.clientWidth || 900, box.clientHeight || 440];
      box.replaceChildren(...layOut(cut(node, MAX_TILES), width, height).map((place) => {
        const made = element("li", {}, tile(place, node));
        put(made, place, width, height);
        return made;
      }));
    }

    function show() {
      const node = trail[trail.length - 1];
      byId("trail").replaceChildren(...trail.map((step, place) => {
        const isLast = place === trail.length - 1;
        const made = isLast
          ? element("span", { "aria-current": "location" }, step.name)
          : element("button", { type: "button" }, step.name);
        if (!isLast) made.addEventListener("click", () => back(place));
        return element("li", {}, made);
      }));
      const parts = node.parts().filter((part) => part.bytes > 0).length;
      const noun = parts === 1 ? node.within.replace(/e?s$/, "") : node.within;
      byId("level").textContent = trail.length === 3 && !node.isRest && node.within === "top prefixes"
        ? `${size(node.bytes)} in ${counted(node.objects, "current object")} and older versions`
        : `${size(node.bytes)} in ${number(parts)} ${noun}`;
      drawTiles(node);
      byId("level-rows").replaceChildren(...cut(node, MAX_TILES).map((part) => element(
        "tr",
        {},
        element("td", {}, part.name),
        element("td", { class: "number" }, size(part.bytes)),
        element("td", { class: "number" }, share(part.bytes, node.bytes)),
        element("td", { class: "number" }, number(part.objects)),
      )));
    }

    box.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && trail.length > 1) back(trail.length - 2);
    });
    show();
    let width = box.clientWidth;
    new ResizeObserver(() => {
      if (box.clientWidth === width) return;
      width = box.clientWidth;
      const held = box.contains(document.activeElement) ? document.activeElement.dataset.name : null;
      drawTiles(trail[trail.length - 1]);
      const tiles = [...box.querySelectorAll("button")];
      if (held !== null) (tiles.find((each) => each.dataset.name === held) || tiles[0])?.focus();
    }).observe(box);
  }

  // ---- copying SQL ----

  async function copy(button) {
    const code = button.parentElement.querySelector("code");
    let isCopied = false;
    try {
      await navigator.clipboard.writeText(code.textContent);
      isCopied = true;
    } catch {
      // Refused, or a page that is not served securely: selected it can be copied by hand.
      getSelection().selectAllChildren(code);
      isCopied = document.execCommand("copy");
    }
    button.textContent = isCopied ? "Copied" : "Selected";
    say(isCopied ? "The SQL is copied." : "The SQL is selected; copy it with your keyboard.");
  }

  for (const button of document.querySelectorAll(".copy")) {
    button.hidden = false;
    button.addEventListener("click", () => copy(button));
  }

  // What is folded is printed too, and folded again.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const each of folded) each.open = true;
  });
  addEventListener("afterprint", () => {
    for (const each of folded) each.open = false;
  });

  bucketTable();
  storageMap();
})();
