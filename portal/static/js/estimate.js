// Says while a form is filled in how large the course is and whether there is room. The button beside it does the same.
const form = document.querySelector("form[data-estimate]");
const here = form?.querySelector("[data-estimate-here]");
const PAUSE = 600;

if (form && here) {
  let timer;
  let asked = 0;

  async function estimate() {
    const number = ++asked;
    here.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(form.dataset.estimate, { method: "POST", body: new FormData(form), redirect: "error" });
      if (answer.ok && number === asked) here.innerHTML = await answer.text();
    } catch {
      // the page works on without it; the button says what is wrong
    } finally {
      if (number === asked) here.removeAttribute("aria-busy");
    }
  }

  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(estimate, PAUSE);
  });
}
