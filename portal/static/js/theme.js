// Runs before the page is drawn, so that a dark page never flashes light: what was chosen, else what the system has.
(() => {
  "use strict";
  const root = document.documentElement;
  const system = window.matchMedia("(prefers-color-scheme: dark)");

  function chosen() {
    try {
      const theme = localStorage.getItem("theme");
      return theme === "light" || theme === "dark" ? theme : "system";
    } catch {
      return "system"; // storage is switched off
    }
  }

  function apply() {
    const choice = chosen();
    root.dataset.bsTheme = choice === "system" ? (system.matches ? "dark" : "light") : choice;
    for (const button of document.querySelectorAll("[data-theme-choice]")) {
      button.setAttribute("aria-pressed", String(button.dataset.themeChoice === choice));
    }
  }

  root.classList.add("js");
  apply();
  system.addEventListener("change", apply);
  document.addEventListener("DOMContentLoaded", () => {
    apply();
    for (const button of document.querySelectorAll("[data-theme-choice]")) {
      button.addEventListener("click", () => {
        try {
          localStorage.setItem("theme", button.dataset.themeChoice);
        } catch {
          root.dataset.bsTheme = button.dataset.themeChoice; // for this page only
          return;
        }
        apply();
      });
    }
  });
})();
