/* A form with a file on its way: a bar, how much is through, a way to end it. Without this file the form sends itself. */
(() => {
  let line = null; // the request under way
  const size = (n) => n < 2 ** 20 ? Math.ceil(n / 1024) + " kB" : n < 2 ** 30 ? (n / 2 ** 20).toFixed(1) + " MB" : (n / 2 ** 30).toFixed(2) + " GB";
  const leaving = (event) => event.preventDefault();

  const wrong = (form, words) => {
    const field = form.querySelector("[type=file]"), says = form.querySelector("[data-wrong]");
    says.textContent = words;
    says.hidden = !words;
    if (words) {
      field.setAttribute("aria-invalid", "true");
      field.setAttribute("aria-describedby", says.id);
      field.focus();
      say(words);
    } else field.removeAttribute("aria-invalid");
  };
  const tell = (form, words) => {
    const says = form.querySelector("[data-says]");
    says.textContent = words;
    says.hidden = !words;
    if (words) say(words);
  };
  const under = (form, way) => {
    for (const field of form.querySelectorAll("input:not([type=hidden])")) field.disabled = way;
    form.querySelector("[data-ready]").hidden = way;
    form.querySelector("[data-sending]").hidden = !way;
    (way ? window.addEventListener : window.removeEventListener)("beforeunload", leaving);
  };

  // What the panel found wrong stands in the page it answers with; the chosen file stays chosen.
  const answered = (form, text) => {
    const card = form.closest("section"), files = form.querySelector("[type=file]").files;
    const fresh = new DOMParser().parseFromString(text, "text/html").getElementById(card.id);
    if (!fresh) return false;
    card.replaceWith(fresh);
    const field = fresh.querySelector("[type=file]"), bad = fresh.querySelector("[aria-invalid]"), err = fresh.querySelector(".err:not([hidden])");
    if (field) field.files = files;
    bad?.focus();
    say(err ? err.textContent : fresh.textContent.trim().replace(/\s+/g, " "));
    return true;
  };

  const send = (form) => {
    const at = (name) => form.querySelector(name), file = at("[type=file]").files[0];
    const bar = at("progress"), much = at("[data-much]"), end = at("[data-cancel]");
    const data = new FormData(form);
    let told = 0, all = false;
    wrong(form, "");
    tell(form, "");
    bar.value = 0;
    end.hidden = false;
    at("[data-name]").textContent = file.name;
    much.textContent = "0 of " + size(file.size);
    under(form, true);
    end.focus();
    say("Uploading " + file.name + ", " + size(file.size) + ".");
    const xhr = line = new XMLHttpRequest();
    xhr.upload.onprogress = (event) => {
      const done = Math.min(file.size, Math.max(0, event.loaded - (event.total - file.size))), share = Math.floor(100 * done / (file.size || 1));
      bar.value = share;
      much.textContent = size(done) + " of " + size(file.size) + ", " + share + " %";
      if (share >= told + 25 && share < 100) { told = share - share % 25; say(told + " % uploaded."); }
    };
    xhr.upload.onload = () => {
      all = true;
      bar.value = 100;
      end.hidden = true; // the job may be asked for already
      much.textContent = size(file.size) + ", all of it. The panel looks at it.";
      say("All of it is uploaded. The panel looks at it.");
    };
    xhr.onload = () => {
      under(form, false);
      if (xhr.status < 300 && xhr.responseURL.split("?")[0] !== form.action) location.assign(xhr.responseURL);
      else if ((xhr.status === 200 || xhr.status === 422) && answered(form, xhr.responseText)) return;
      else if (xhr.status === 413) wrong(form, form.dataset.large);
      else wrong(form, "The panel did not take it (it answered " + xhr.status + "). Load this page again, then upload the archive again.");
    };
    xhr.onerror = () => {
      under(form, false);
      wrong(form, all ? "The connection broke when all of it was sent. Look on Jobs whether the image is being made before you upload it again."
        : "The connection broke at " + bar.value + " %. No image was made. Upload the archive again.");
    };
    xhr.onabort = () => {
      under(form, false);
      tell(form, "Cancelled at " + bar.value + " %. No image is made, and the panel removes what had arrived.");
      at("[data-ready] button").focus();
    };
    xhr.onloadend = () => { line = null; };
    xhr.open("POST", form.action);
    xhr.send(data);
  };

  document.addEventListener("submit", (event) => {
    const form = event.target.closest("form[data-upload]"), file = form?.querySelector("[type=file]").files[0];
    if (!file) return;
    event.preventDefault();
    if (line) return;
    if (file.size > form.dataset.most) wrong(form, form.dataset.large);
    else send(form);
  });
  document.addEventListener("click", (event) => {
    if (line && event.target.closest("[data-cancel]")) line.abort();
  });
})();
