/* A machine's console: xterm.js on a websocket. What comes from the machine is shown by the terminal and nowhere else. */
(() => {
  const box = document.getElementById("console");
  if (!box || !window.Terminal) return;
  const at = (name) => box.querySelector(name);
  const says = at("#console-says"), screen = at("#screen"), take = at("[data-do=take]"), open = at("[data-do=open]");
  const CHUNK = 2048, WAITS = [500, 1000, 2000, 4000, 8000, 15000];
  const WHY = {
    off: "stopped; its console ended.",
    gone: "is not on its host any more.",
    foreign: "is defined on its host by somebody else, so its console stays closed here.",
    busy: "has its console open in another program on the host (virsh console). End that one first.",
    full: "can't be shown: too many consoles are open. Close one.",
    denied: "is no longer yours to use, or you signed out.",
    libvirt: "has a console that the host's libvirt does not give.",
    left: "was left alone for long.",
  };
  // The policy takes no style sheet without the page's word; the terminal makes one as it starts.
  const create = document.createElement.bind(document);
  document.createElement = (tag, ...rest) => {
    const made = create(tag, ...rest);
    if (String(tag).toLowerCase() === "style") made.nonce = box.dataset.nonce;
    // It colours letters by an attribute that the policy does not take; what a script sets is taken.
    if (String(tag).toLowerCase() === "span") {
      made.setAttribute = (name, value) => {
        if (name === "style") made.style.cssText = value;
        else Element.prototype.setAttribute.call(made, name, value);
      };
    }
    return made;
  };
  box.hidden = false;
  const term = new Terminal({
    cols: 80, rows: 24, scrollback: 5000, fontSize: 14, screenReaderMode: true,
    fontFamily: "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace",
    theme: { background: "#10191d", foreground: "#d5e2e6", cursor: "#74cbe0" },
    linkHandler: { activate() {} }, // a machine names no address that a click would open
  });
  term.open(screen);
  let line = null, run = "", after = "", me = "", mine = false, who = "", live = false, tries = 0, timer = 0, ctrl = false, gone = false;

  const say = (words) => { if (says.textContent !== words) says.textContent = words; };
  const note = (words) => term.write("\r\n\x1b[0;7m " + words + " \x1b[0m\r\n");
  const send = (text) => {
    if (!line || line.readyState !== WebSocket.OPEN || !mine) return;
    const bytes = new TextEncoder().encode(text);
    for (let i = 0; i < bytes.length; i += CHUNK) line.send(bytes.subarray(i, i + CHUNK));
  };
  // The terminal answers questions a program asks ("where is the cursor"); those of replayed output are long answered.
  term.onData((text) => {
    if (!live) return;
    if (ctrl && text.length === 1) { text = String.fromCharCode(text.toUpperCase().charCodeAt(0) & 31); hold(false); }
    send(text);
  });
  term.onBinary((text) => { if (live && line && mine) line.send(Uint8Array.from(text, (c) => c.charCodeAt(0))); });
  term.attachCustomKeyEventHandler((event) => {
    if (event.ctrlKey && event.shiftKey && event.key === "Escape") { at("[data-key=ctrl]").focus(); return false; }
    if (event.type === "keydown" && event.ctrlKey && event.shiftKey && event.code === "KeyC") { event.preventDefault(); copy(); return false; }
    return !(event.ctrlKey && event.shiftKey && event.code === "KeyV"); // the browser pastes
  });

  // Said only once keys are taken: until what was printed before is shown, they go nowhere.
  const stands = () => {
    take.hidden = mine;
    say(mine ? "You type here." : who ? who + " types here. You watch." : "Nobody types here. You watch.");
  };
  const told = (word) => {
    if (word.run) {
      if (run && !word.again) { term.reset(); after = ""; note("The console was opened anew; what was printed in between is not here."); }
      run = word.run;
      me = word.me;
      tries = 0;
    }
    if ("mine" in word) {
      mine = word.mine;
      who = word.who;
      if (live) stands();
    }
    if (word.at) after = word.at;
    if (word.live) { const its = line; term.write("", () => { if (its === line && its.readyState === WebSocket.OPEN) { live = true; stands(); } }); }
    if (word.missing) note(Math.ceil(word.missing / 1024) + " kB were printed too fast and are left out.");
    if (word.deaf) say("The machine takes no keys at the moment; your last ones are lost.");
    if (word.over) over(word.over);
  };
  const over = (code) => {
    if (code === "lost" || code === "quit" || code === "silent") return; // its process starts again: the line closes, we try anew
    gone = true;
    say(box.dataset.name + " " + (WHY[code] || "has no console now."));
    ended();
  };
  const ended = () => { mine = live = false; take.hidden = true; open.hidden = false; };

  const later = (words) => {
    mine = live = false;
    take.hidden = true;
    if (gone) return;
    const wait = WAITS[Math.min(tries++, WAITS.length - 1)];
    say(words + " Trying again.");
    clearTimeout(timer);
    timer = setTimeout(dial, wait);
  };
  const dial = async () => {
    gone = false;
    open.hidden = true;
    let answer;
    try {
      answer = await fetch(box.dataset.ticket, { method: "POST", headers: { "X-CSRFToken": box.dataset.csrf }, redirect: "error" });
    } catch { return later("The panel does not answer."); }
    if (answer.status >= 500) return later("The panel does not answer.");
    const got = await answer.json().catch(() => ({ say: "You may not use this console any more. Sign in again." }));
    if (!got.ticket) { gone = true; say(got.say); return ended(); }
    const url = new URL(box.dataset.line, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    if (run && after) url.search = new URLSearchParams({ run, after, was: me });
    const mineNow = line = new WebSocket(url, ["fridu.console", got.ticket]);
    line.binaryType = "arraybuffer";
    let silent = false;
    line.onmessage = (event) => {
      if (mineNow !== line) return;
      if (typeof event.data !== "string") return term.write(new Uint8Array(event.data));
      const word = JSON.parse(event.data);
      silent = word.over === "silent";
      told(word);
      if (word.over) mineNow.close();
    };
    line.onclose = () => {
      if (mineNow === line) later(silent ? "The console process on the host does not answer." : "The line broke.");
    };
  };

  const hold = (on) => { ctrl = on; at("[data-key=ctrl]").setAttribute("aria-pressed", String(on)); };
  const copy = async () => {
    const all = !term.hasSelection();
    if (all) term.selectAll();
    const text = term.getSelection().replace(/\s+$/, "");
    if (all) term.clearSelection();
    try { await navigator.clipboard.writeText(text); } catch {
      // Without TLS there is no clipboard for pages; the old way works.
      const area = create("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    say("Copied.");
    term.focus();
  };
  // As many letters as fit: measured on the drawn screen itself.
  const fit = () => {
    const drawn = screen.querySelector(".xterm-screen").getBoundingClientRect();
    if (!drawn.width || !drawn.height) return;
    const wide = screen.getBoundingClientRect().width - 34; // its padding and the terminal's bar
    const cols = Math.floor(wide / (drawn.width / term.cols)), rows = Math.floor(innerHeight * 0.6 / (drawn.height / term.rows));
    term.resize(Math.max(20, Math.min(250, cols)), Math.max(8, Math.min(80, rows)));
  };
  box.addEventListener("click", (event) => {
    const b = event.target.closest("button");
    if (!b) return;
    if (b.dataset.key === "ctrl") hold(!ctrl);
    else if (b.dataset.key) send(b.dataset.key);
    else if (b.dataset.arrow) send((term.modes.applicationCursorKeysMode ? "\x1bO" : "\x1b[") + b.dataset.arrow);
    else if (b.dataset.do === "take") line.send("take");
    else if (b.dataset.do === "open") dial();
    else if (b.dataset.do === "copy") return void copy();
    else if (b.dataset.do === "size") send(" stty rows " + term.rows + " cols " + term.cols + "\r");
    term.focus();
  });
  addEventListener("resize", fit);
  fit();
  dial();
  term.focus();
})();
