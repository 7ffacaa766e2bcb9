// Small comforts of every page. Everything works without them.

const toggle = document.querySelector(".nav-toggle");
const navigation = document.querySelector(".site-nav");
if (toggle && navigation) {
  toggle.addEventListener("click", () => {
    const open = navigation.classList.toggle("open");
    toggle.setAttribute("aria-expanded", String(open));
    if (open) navigation.querySelector("a")?.focus();
  });
}

// A menu closes with Escape, by a click beside it, and when the focus leaves it.
for (const menu of document.querySelectorAll("details.header-menu")) {
  menu.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && menu.open) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });
  menu.addEventListener("focusout", (event) => {
    if (event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false;
  });
  document.addEventListener("click", (event) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
}

// After a form came back with errors, the summary is where to go on.
document.querySelector("[data-focus-here]")?.focus();

// A filter acts when it is changed; the button stays for everybody else.
for (const field of document.querySelectorAll("form[data-submit-on-change] select")) {
  field.addEventListener("change", () => field.form.requestSubmit());
}

// Nothing is sent twice by an impatient second click.
for (const form of document.querySelectorAll("form[method=post]")) {
  form.addEventListener("submit", (event) => {
    if (event.defaultPrevented) return;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
}
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

// A text that stands beside its button is copied by it, where the browser lets us.
for (const button of document.querySelectorAll("button[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  const label = button.textContent;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = button.dataset.copied;
    window.setTimeout(() => (button.textContent = label), 2000);
  });
}
