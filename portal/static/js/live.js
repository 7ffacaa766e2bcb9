// Goes on with the list of what an operation tells: by server-sent events, and by asking again where those are refused.

const ICONS = new URL("../vendor/bootstrap-icons/icons.svg", import.meta.url).pathname;
const POLL = 4000; // milliseconds
const MOST = 2000; // lines that a page keeps

class LiveOperation {
  constructor(root) {
    this.root = root;
    this.data = root.dataset;
    this.after = this.data.after;
    this.log = root.querySelector(".live-log");
    this.step = root.querySelector(".live-step");
    this.progress = root.querySelector(".live-progress");
    this.resources = root.querySelector(".live-resources");
    this.log.scrollTop = this.log.scrollHeight;
    this.refusals = 0;
    this.listen();
  }

  listen() {
    const source = new EventSource(`${this.data.events}?after=${encodeURIComponent(this.after)}`);
    this.source = source;
    source.addEventListener("open", () => (this.refusals = 0));
    source.addEventListener("message", (event) => {
      this.after = event.lastEventId;
      this.show(JSON.parse(event.data));
    });
    source.addEventListener("end", (event) => {
      source.close();
      this.end(JSON.parse(event.data));
    });
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED || ++this.refusals > 3) {
        source.close(); // refused: too many watch, or the server is away
        window.setTimeout(() => this.poll(), POLL);
      }
    });
    window.addEventListener("pagehide", () => source.close(), { once: true });
  }

  async poll() {
    try {
      const answer = await fetch(`${this.data.news}?after=${encodeURIComponent(this.after)}`, { redirect: "error" });
      if (answer.ok) {
        const news = await answer.json();
        news.events.forEach((event) => this.show(event));
        this.after = news.after;
        if (news.end) return this.end(news.end);
      } else if (answer.status === 401 || answer.status === 404) {
        return; // signed out, or not ours to see any more
      }
    } catch {
      // away: ask again
    }
    window.setTimeout(() => this.poll(), POLL);
  }

  show(event) {
    if (event.text !== undefined) this.line(event);
    if (event.type === "step") this.step.textContent = event.text;
    if (event.type === "started") this.resources.replaceChildren();
    if (event.type === "resource") this.resource(event);
    if (event.type === "progress") {
      const bar = this.progress.querySelector("progress");
      bar.max = event.total || 1;
      bar.value = event.done;
      this.progress.hidden = false;
    }
  }

  line(event) {
    const atEnd = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 40;
    const line = document.createElement("li");
    if (event.kind) line.className = event.kind;
    const time = document.createElement("time");
    time.textContent = event.time;
    line.append(time, event.text);
    this.log.append(line);
    this.log.hidden = false;
    while (this.log.children.length > MOST) this.log.firstElementChild.remove();
    if (atEnd) this.log.scrollTop = this.log.scrollHeight;
  }

  resource(event) {
    let line = [...this.resources.children].find((one) => one.dataset.name === event.name);
    if (!line) {
      line = document.createElement("li");
      line.dataset.name = event.name;
      line.innerHTML = '<svg class="icon" aria-hidden="true" focusable="false"><use></use></svg> <span></span>';
      this.resources.append(line);
      this.resources.hidden = false;
    }
    const icon = { done: "check-circle", failed: "exclamation-octagon" }[event.state] || "arrow-repeat";
    line.querySelector("use").setAttribute("href", `${ICONS}#${icon}`);
    const text = document.createElement("span");
    text.className = "soft";
    text.textContent = `${event.action}, ${this.data[event.state]}`;
    line.querySelector("span").replaceChildren(`${event.name} `, text);
  }

  end(end) {
    this.root.querySelector(".spin")?.remove();
    const again = document.createElement("a");
    again.href = location.href;
    again.textContent = this.data.reload;
    this.step.replaceChildren(`${end.text} `, again);
  }
}

for (const root of document.querySelectorAll(".live[data-events]")) new LiveOperation(root);
