// What can be done with a report page.

import assert from "node:assert/strict";
import { test } from "node:test";
import { bytes, column, open, read, useBrowser } from "./support.mjs";

useBrowser();

const matches = (page) => page.locator("#matches").textContent();
const shown = (page) => page.locator("#rows tr").count();
const focused = (page) => page.evaluate(() => document.activeElement.dataset.name ?? document.activeElement.textContent);
const isSorted = (values, order) => values.every((value, place) => place === 0 || order(values[place - 1], value));

test("a search finds buckets by name, account, Region, status and reason", async (t) => {
  const { page } = await open(t, "partial.page.html");
  const all = await shown(page);
  assert.equal(await matches(page), `${all} buckets`);
  const cases = [
    ["LEGAL", ["acme-legal-hold"]],
    ["222222222222 legal-hold", ["acme-legal-hold"]],
    ["putinventoryconfiguration", ["acme-legal-hold"]],
    ["verification_failed", ["acme-damaged"]],
    ["ap-southeast-2", ["acme-sydney-backup"]],
    ["nowhere", []],
  ];
  for (const [words, found] of cases) {
    await page.fill("#search", words);
    assert.deepEqual(await column(page, 1), found, words);
    assert.equal(await matches(page), `${found.length} of ${all} buckets`, words);
  }
  await page.fill("#search", "");
  assert.equal(await shown(page), all);
});

test("buckets are filtered by status, together with a search", async (t) => {
  const { page } = await open(t, "partial.page.html");
  await page.selectOption("#status", "in_progress");
  assert.deepEqual(await column(page, 1), ["acme-slow-reports"]);
  await page.selectOption("#status", { label: "not covered (4)" });
  assert.equal(await shown(page), 4);
  assert.ok((await column(page, 4)).every((status) => !["done", "bucket_is_empty"].includes(status)));
  await page.fill("#search", "damaged");
  assert.deepEqual(await column(page, 1), ["acme-damaged"]);
  // What no bucket is in is not offered.
  const offered = await page.locator("#status option").allTextContents();
  assert.ok(!offered.some((option) => option.includes("bucket_access_lost")), offered.join());
});

test("what is not covered stands first, with its reason, and claims no contents", async (t) => {
  const { page } = await open(t, "partial.page.html");
  const rows = await page.locator("#rows tr").evaluateAll((found) => found.map((row) => [...row.cells].map((cell) => cell.textContent)));
  assert.deepEqual(rows.map((row) => row[3] === "done" || row[3] === "bucket_is_empty").indexOf(true), 4);
  for (const [, , , , objects, size, why] of rows.slice(0, 4)) {
    assert.deepEqual([objects, size], ["", ""]);
    assert.match(why, /^\w+: /);
  }
  const empty = rows.find((row) => row[0] === "acme-unused");
  assert.deepEqual(empty.slice(4), ["0", "0 bytes", ""]);
});

test("columns sort both ways, numbers as numbers", async (t) => {
  const { page } = await open(t, "partial.page.html");
  const head = (name) => page.locator(`[data-sort=${name}]`);
  const sort = (name) => page.locator("th", { has: head(name) }).getAttribute("aria-sort");

  await head("bytes").click();
  assert.equal(await sort("bytes"), "descending");
  const descending = await bytes(page);
  assert.ok(isSorted(descending, (a, b) => a >= b), descending.join());
  // Sorted as texts they would be in another order, or this shows nothing.
  assert.ok(!isSorted(descending.map(String), (a, b) => a >= b));
  assert.equal((await column(page, 6)).at(-1), "", "what has no value stays at the end");

  await head("bytes").click();
  assert.equal(await sort("bytes"), "ascending");
  assert.deepEqual(await bytes(page), descending.toReversed());
  assert.equal((await column(page, 6)).at(-1), "");

  await head("bucket").click();
  assert.equal(await sort("bucket"), "ascending");
  assert.equal(await sort("bytes"), null);
  const names = await column(page, 1);
  assert.ok(isSorted(names, (a, b) => a <= b));
  await head("bucket").click();
  assert.equal(await sort("bucket"), "descending");
  assert.deepEqual(await column(page, 1), names.toReversed());

  await head("objects").click();
  const objects = (await column(page, 5)).filter(Boolean).map((text) => Number(text.replaceAll(",", "")));
  assert.ok(objects.length > 10 && isSorted(objects, (a, b) => a >= b), objects.join());
});

test("10,000 buckets are a small page whose table stays small", async (t) => {
  const size = Buffer.byteLength(read("large.page.html"));
  assert.ok(size <= 3_000_000, `${size} bytes`);
  const { page } = await open(t, "large.page.html");
  await page.waitForFunction(() => globalThis.painted);
  const painted = await page.evaluate(() => Math.round(globalThis.painted));
  assert.equal(await shown(page), 200);
  assert.equal(await matches(page), "10,000 buckets, the first 200 shown");

  const took = (work) => page.evaluate(`(() => { const began = performance.now(); (${work})(); return performance.now() - began; })()`);
  const search = await took(() => {
    const field = document.getElementById("search");
    field.value = "corp-media eu-west-1 denied";
    field.dispatchEvent(new Event("input"));
  });
  const found = await column(page, 1);
  assert.ok(found.length > 5 && found.every((name) => name.includes("corp-media")), found.join());
  assert.equal(await matches(page), `${found.length} of 10,000 buckets`);
  assert.ok(await page.locator("#more").isHidden());

  const sort = await took(() => {
    const field = document.getElementById("search");
    field.value = "";
    field.dispatchEvent(new Event("input"));
    document.querySelector("[data-sort=bytes]").click();
  });
  assert.equal(await shown(page), 200);
  const largest = await bytes(page);
  assert.ok(isSorted(largest, (a, b) => a >= b));
  t.diagnostic(`10,000 buckets: ${size} bytes, table painted after ${painted} ms, searched in ${Math.round(search)} ms, sorted in ${Math.round(sort)} ms`);

  const more = page.locator("#more");
  assert.equal(await more.textContent(), "Show 200 more of 9,800");
  await more.click();
  assert.equal(await shown(page), 400);
  assert.equal(await matches(page), "10,000 buckets, the first 400 shown");
  assert.ok(isSorted(await bytes(page), (a, b) => a >= b), "the next ones follow in order");
});

test("every bucket can be reached by showing more", async (t) => {
  const { page } = await open(t, "large.page.html");
  await page.selectOption("#status", { index: 1 });
  const all = Number((await page.locator("#status option:checked").textContent()).replace(/\D/g, ""));
  assert.ok(all > 400, `${all}`);
  for (let at = 200; at < all; at += 200) {
    assert.equal(await shown(page), at);
    await page.locator("#more").click();
  }
  assert.equal(await shown(page), all);
  assert.ok(await page.locator("#more").isHidden());
  assert.equal(new Set(await column(page, 1)).size, all);
});

test("the map opens accounts, buckets and prefixes, and says the same as its table", async (t) => {
  const { page } = await open(t, "complete.page.html");
  const tiles = page.locator("#tiles > li > .tile");
  const names = () => tiles.evaluateAll((found) => found.map((tile) => tile.dataset.name));
  const rows = () => page.locator("#level-rows tr").evaluateAll((found) => found.map((row) => row.cells[0].textContent));
  const path = () => page.locator("#trail li").allTextContents();
  assert.deepEqual(await names(), await rows());
  assert.deepEqual((await names()).toSorted(), ["111111111111", "222222222222", "333333333333", "444444444444"]);
  const share = await page.locator("#level-rows tr").evaluateAll((found) => found.map((row) => Number.parseFloat(row.cells[2].textContent)));
  assert.ok(Math.abs(share.reduce((sum, part) => sum + part, 0) - 100) < 0.5, share.join());

  await tiles.filter({ hasText: "222222222222" }).click();
  assert.deepEqual(await names(), await rows());
  assert.ok((await names()).includes("acme-media-originals"));
  await page.locator("#tiles [data-name=acme-media-originals]").click();
  assert.deepEqual(await path(), ["All accounts", "222222222222", "acme-media-originals"]);
  assert.ok((await names()).includes("year=2025/"));
  assert.equal(await page.locator("#tiles button").count(), 0, "prefixes cannot be opened");

  await page.locator("#trail button", { hasText: "All accounts" }).click();
  assert.deepEqual(await path(), ["All accounts"]);
});

test("the areas of the map are the bytes", async (t) => {
  const { page } = await open(t, "complete.page.html");
  const areas = await page.locator("#tiles > li").evaluateAll((found) => found.map((item) => {
    const { width, height } = item.getBoundingClientRect();
    return [item.firstChild.dataset.name, width * height];
  }));
  const whole = areas.reduce((sum, [, area]) => sum + area, 0);
  const told = new Map(await page.locator("#level-rows tr").evaluateAll((found) => found.map((row) => [row.cells[0].textContent, Number.parseFloat(row.cells[2].textContent)])));
  for (const [name, area] of areas) {
    assert.ok(Math.abs((area / whole) * 100 - told.get(name)) < 0.5, `${name}: ${(area / whole) * 100} and ${told.get(name)}`);
  }
});

test("more accounts than have room are all within the last tile", async (t) => {
  const { page } = await open(t, "large.page.html");
  const seen = new Set();
  for (;;) {
    const names = await page.locator("#tiles .tile").evaluateAll((found) => found.map((tile) => tile.dataset.name));
    assert.ok(names.length <= 30, `${names.length} tiles`);
    names.filter((name) => /^\d{12}$/.test(name)).forEach((name) => seen.add(name));
    const rest = page.locator("#tiles button[data-name$=' more accounts']");
    if (!await rest.count()) break;
    await rest.focus();
    await page.keyboard.press("Enter");
  }
  const accounts = JSON.parse(await page.locator("#data").textContent());
  const stored = new Set(accounts.buckets.filter((row) => row[5] > 0).map((row) => accounts.accounts[row[0]]));
  assert.deepEqual(seen, stored);
  assert.ok(stored.size > 200, `${stored.size}`);
});

test("the keyboard alone is enough", async (t) => {
  const { page } = await open(t, "partial.page.html", { permissions: ["clipboard-read", "clipboard-write"] });
  const tabTo = async (selector) => {
    for (let steps = 0; steps < 200; steps += 1) {
      await page.keyboard.press("Tab");
      if (await page.evaluate((wanted) => document.activeElement.matches(wanted), selector)) {
        const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
        assert.notEqual(outline, "none", `${selector} has no visible focus`);
        return;
      }
    }
    assert.fail(`${selector} is not reached`);
  };
  await page.keyboard.press("Tab");
  assert.equal(await focused(page), "Skip to the report");

  // In the order in which it stands on the page.
  await tabTo(".top a");
  await tabTo(".finding > summary");
  await page.keyboard.press("Enter");
  await tabTo(".sql > summary");
  await page.keyboard.press("Space");
  await tabTo(".copy");
  await page.keyboard.press("Enter");
  const copied = page.locator(".copy", { hasText: "Copied" });
  await copied.waitFor();
  const code = await copied.locator("xpath=..").locator("code").textContent();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), code);
  assert.ok(code.startsWith("SELECT "), code);
  assert.equal(await page.locator("#said").textContent(), "The SQL is copied.");

  await tabTo("button.tile");
  const account = await focused(page);
  await page.keyboard.press("Enter");
  const bucket = await focused(page);
  assert.notEqual(bucket, account);
  await page.keyboard.press("Space");
  assert.deepEqual(await page.locator("#trail li").allTextContents(), ["All accounts", account, bucket]);
  // Nothing within can be opened, so the way back has the focus.
  assert.equal(await focused(page), "All accounts");
  await page.keyboard.press("Enter");
  assert.equal(await focused(page), account, "back on the tile that was opened");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Escape");
  assert.equal(await focused(page), account);

  await tabTo("#search");
  await page.keyboard.type("acme-d");
  assert.deepEqual((await column(page, 1)).toSorted(), ["acme-damaged", "acme-data-lake", "acme-db-backups"]);
  await tabTo("#status");
  await tabTo("[data-sort=bucket]");
  await page.keyboard.press("Enter");
  assert.deepEqual(await column(page, 1), ["acme-damaged", "acme-data-lake", "acme-db-backups"]);
  await page.keyboard.press("Space");
  assert.deepEqual(await column(page, 1), ["acme-db-backups", "acme-data-lake", "acme-damaged"]);
});

test("SQL is selected where the clipboard is refused", async (t) => {
  const { page } = await open(t, "partial.page.html");
  await page.evaluate(() => {
    navigator.clipboard.writeText = () => Promise.reject(new Error("refused"));
    document.execCommand = () => false;
    for (const each of document.querySelectorAll("details")) each.open = true;
  });
  await page.locator(".copy").first().click();
  await page.locator(".copy", { hasText: "Selected" }).waitFor();
  assert.equal(await page.evaluate(() => getSelection().toString()), await page.locator(".sql code").first().textContent());
});

test("what comes from outside stays text", async (t) => {
  const { page } = await open(t, "hostile.page.html");
  await page.evaluate(() => {
    for (const each of document.querySelectorAll("details")) each.open = true;
  });
  // Every tile, and every row.
  for (const name of await page.locator("#tiles button").evaluateAll((found) => found.map((tile) => tile.dataset.name))) {
    await page.locator(`#tiles button[data-name="${name}"]`).focus();
    await page.keyboard.press("Enter");
    const inner = page.locator("#tiles button");
    if (await inner.count()) {
      await inner.first().focus();
      await page.keyboard.press("Enter");
    }
    await page.locator("#trail button").first().click();
  }
  for (const key of ["why", "bucket", "status"]) await page.locator(`[data-sort=${key}]`).click();
  assert.equal(await page.evaluate(() => globalThis.taken), undefined);
  const made = await page.evaluate(() => ({
    scripts: document.scripts.length,
    styles: document.querySelectorAll("style, link").length,
    foreign: document.querySelectorAll("img, iframe, object, embed, form, base, [style*=expression]").length,
    handlers: [...document.querySelectorAll("*")].filter((each) => [...each.attributes].some(({ name }) => name.startsWith("on") || name === "autofocus")).length,
    links: [...document.querySelectorAll("a[href]")].map((link) => link.protocol).filter((protocol) => !["https:", "file:"].includes(protocol)),
  }));
  assert.deepEqual(made, { scripts: 2, styles: 1, foreign: 0, handlers: 0, links: [] });
  const text = await page.evaluate(() => document.body.innerText);
  for (const part of ["</script><script>globalThis.taken=1</script>", "<img src=x onerror=globalThis.taken=1>", "{{ 7*7 }}", "${7*7}", "&lt;b&gt;", "\\u{202e}gpj.exe", "\\u{1b}[2J", "\\u{2028}", "写真"]) {
    assert.ok(text.includes(part), part);
  }
  assert.ok(!/[\u202e\u2028\u001b]/.test(text));
  assert.equal(await page.title(), "S3Insights run weekly: failed");
  await page.fill("#search", "</script> onerror=");
  assert.equal(await shown(page), 4);
});

test("without JavaScript the page says what needs it and shows the rest", async (t) => {
  const { page } = await open(t, "partial.page.html", { javaScriptEnabled: false });
  const text = await page.evaluate(() => document.body.innerText);
  for (const part of ["partial", "Something is missing", "Possible secrets", "need JavaScript", "verification_failed"]) {
    assert.ok(text.includes(part), part);
  }
  assert.ok(await page.locator("#buckets").isHidden());
});

test("what is folded is printed, and folded again", async (t) => {
  const { page } = await open(t, "partial.page.html");
  const folded = () => page.locator("details:not([open])").count();
  const before = await folded();
  assert.ok(before > 5);
  await page.evaluate(() => dispatchEvent(new Event("beforeprint")));
  assert.equal(await folded(), 0);
  await page.evaluate(() => dispatchEvent(new Event("afterprint")));
  assert.equal(await folded(), before);
  await page.emulateMedia({ media: "print" });
  assert.ok(await page.locator(".tools").isHidden());
  assert.ok(await page.locator("#rows").isVisible());
});

test("a page claims no more than there is", async (t) => {
  const cases = [
    ["complete", "complete", "All of 20 source buckets in 4 accounts are covered."],
    ["partial", "partial", "Something is missing: 4 of 24 buckets not covered"],
    ["failed", "failed", "The run broke off."],
    ["empty", "complete", "The accounts were read and have no source buckets."],
    ["smoke", "smoke test passed", "A smoke test covers no source bucket."],
    ["going-on", "goes on", "The run goes on; this is how it stood at 2026-01-06 00:00:00 UTC."],
  ];
  for (const [name, badge, sentence] of cases) {
    const { page } = await open(t, `${name}.page.html`);
    assert.equal(await page.locator(".badge").textContent(), badge);
    const said = await page.locator(".sentence").textContent();
    assert.ok(said.includes(sentence), said);
    const text = await page.evaluate(() => document.body.innerText);
    if (badge !== "complete") assert.ok(!/\bcomplete\b|All of /.test(text), name);
  }
});
