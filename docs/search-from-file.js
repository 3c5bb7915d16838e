// Search on a site that is read from a disk: there a browser starts no worker, so the theme's one runs in a hidden frame.
// The theme's script looks for the name IFrameWorker in the page, and then finds its neighbours by its own address.
(() => {
  if (location.protocol !== "file:") return;

  // Scripts of a frame one after the other, as a worker's importScripts has them; a promise, since a page cannot wait.
  const load = async (page, addresses) => {
    for (const src of addresses) {
      await new Promise((loaded, failed) => {
        const script = Object.assign(page.createElement("script"), { src, onload: loaded });
        script.onerror = () => failed(new Error(`cannot load ${src}`));
        page.head.append(script);
      });
    }
  };

  class IFrameWorker extends EventTarget {
    onmessage = null;
    onerror = null;
    #frame = Object.assign(document.createElement("iframe"), { hidden: true, srcdoc: "<!doctype html>" });
    #started;

    constructor(address) {
      super();
      for (const kind of ["message", "error"]) this.addEventListener(kind, (event) => this[`on${kind}`]?.(event));
      this.#started = this.#start(String(new URL(address, document.baseURI)));
      this.#started.catch(({ message }) => this.dispatchEvent(new ErrorEvent("error", { message })));
    }

    async #start(address) {
      const framed = new Promise((done) => this.#frame.addEventListener("load", done, { once: true }));
      document.body.append(this.#frame);
      await framed;
      const inside = this.#frame.contentWindow;
      inside.postMessage = (data) => {
        const copy = structuredClone(data);
        setTimeout(() => this.#frame.isConnected && this.dispatchEvent(new MessageEvent("message", { data: copy })));
      };
      inside.importScripts = (...addresses) => load(inside.document, addresses);
      await load(inside.document, [address]);
      return inside;
    }

    // What is sent before the script is there waits for it.
    postMessage(data) {
      const copy = structuredClone(data);
      this.#started.then(
        (inside) => inside.dispatchEvent(new inside.MessageEvent("message", { data: copy })),
        () => {},  // told by the event `error`
      );
    }

    terminate() {
      this.#frame.remove();
    }
  }

  window.IFrameWorker = window.Worker = IFrameWorker;
})();
