// Buttons that copy a text: <button data-copy="TEXT" data-copied="Copied" hidden>Copy</button>

export function setUpCopying(within = document) {
  for (const button of within.querySelectorAll("button[data-copy]")) {
    if (!navigator.clipboard) continue; // the text stands beside it and can be marked
    button.hidden = false;
    const label = button.textContent;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = button.dataset.copied;
      window.setTimeout(() => (button.textContent = label), 2000);
    });
  }
}
