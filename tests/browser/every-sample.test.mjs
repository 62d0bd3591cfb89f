// What holds for the page and the mail of every sample run.

import assert from "node:assert/strict";
import { test } from "node:test";
import { HtmlValidate } from "html-validate";
import { DESKTOP, NAMES, PHONE, barriers, open, overhang, read, useBrowser } from "./support.mjs";

useBrowser();

const FILES = NAMES.flatMap((name) => [`${name}.page.html`, `${name}.mail.html`]);

for (const file of FILES) {
  for (const colorScheme of ["light", "dark"]) {
    test(`${file} can be used by everybody, ${colorScheme}`, async (t) => {
      const { page } = await open(t, file, { colorScheme });
      assert.deepEqual(await barriers(page), []);
      // Also what is folded at first.
      await page.evaluate(() => {
        for (const each of document.querySelectorAll("details")) each.open = true;
      });
      assert.deepEqual(await barriers(page), []);
    });
  }

  for (const viewport of [PHONE, DESKTOP]) {
    test(`${file} fits into ${viewport.width} pixels`, async (t) => {
      const { page } = await open(t, file, { viewport });
      await page.evaluate(() => {
        for (const each of document.querySelectorAll("details")) each.open = true;
      });
      assert.ok(await overhang(page) <= 0, `${await overhang(page)} pixels too wide`);
    });
  }

  test(`${file} is valid HTML`, async () => {
    const rules = { extends: ["html-validate:standard"] };
    // Mail programs know no style sheets, and some no CSS for tables.
    if (file.endsWith(".mail.html")) {
      rules.rules = { "no-deprecated-attr": "off", "no-inline-style": "off" };
    }
    const report = await new HtmlValidate(rules).validateString(read(file));
    const said = report.results.flatMap(({ messages }) => messages).map(({ line, message, ruleId }) => `${line}: ${ruleId}: ${message}`);
    assert.deepEqual(said.slice(0, 10), []);
  });
}

test("the checks see what they look for", async (t) => {
  const { page, problems } = await open(t, "complete.page.html");
  await page.evaluate(() => {
    const text = document.createElement("p");
    text.textContent = "hardly to be seen";
    text.style.color = "#cccccc";
    text.style.width = "3000px";
    document.querySelector("main").append(text);
  });
  assert.ok(await overhang(page) > 0);
  assert.match((await barriers(page)).join(), /color-contrast/);
  const report = await new HtmlValidate({ extends: ["html-validate:standard"] }).validateString("<p><div></p>");
  assert.equal(report.valid, false);
  assert.deepEqual(problems, []);
});

test("the policy of the page refuses scripts, styles, requests and forms", async (t) => {
  const { page, problems } = await open(t, "complete.page.html");
  const refused = [];
  page.on("requestfailed", (request) => refused.push(request.failure().errorText));
  const attempts = [
    ["script-src-attr", (body) => {
      body.setAttribute("onclick", "globalThis.taken = 1");
      body.click();
    }],
    ["script-src-elem", (body) => {
      const script = document.createElement("script");
      script.textContent = "globalThis.taken = 1";
      body.append(script);
    }],
    ["style-src-attr", (body) => body.setAttribute("style", "color: red")],
    ["style-src-elem", (body) => {
      const style = document.createElement("style");
      style.textContent = "p { color: red }";
      body.append(style);
    }],
    ["img-src", (body) => {
      const image = new Image();
      image.src = "https://example.com/image.png";
      body.append(image);
    }],
    ["connect-src", () => {
      fetch("https://example.com/").catch(() => {});
    }],
    ["base-uri", (body) => {
      const base = document.createElement("base");
      base.href = "https://example.com/";
      body.append(base);
    }],
    ["form-action", (body) => {
      const form = document.createElement("form");
      form.action = "https://example.com/";
      body.append(form);
      form.submit();
    }],
  ];
  for (const [directive, attempt] of attempts) {
    await page.evaluate(`(${attempt})(document.body)`);
    await page.waitForFunction((expected) => globalThis.violations.includes(expected), directive).catch(() => assert.fail(`${directive} is not refused`));
  }
  assert.equal(await page.evaluate(() => globalThis.taken), undefined);
  // What was asked for was refused by the policy, and not only unreachable.
  const requests = problems.filter((problem) => problem.startsWith("request: "));
  assert.deepEqual(refused, requests.map(() => "csp"));
  // All of it was seen by what keeps watch in the other tests.
  for (const [directive] of attempts) assert.ok(problems.includes(`policy: ${directive}`), directive);
  problems.length = 0;
});
