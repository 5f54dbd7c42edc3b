// Sends a prompt through any of the three APIs and shows the answer as it arrives.

import { count, element, seconds } from "./charts.js";

const node = (id) => document.getElementById(id);
const SHOWN = 200_000; // characters of the raw response

const APIS = {
  chat: {
    path: "../v1/chat/completions",
    body: ({ model, system, prompt, most, stream }) => ({
      model,
      messages: [...(system ? [{ role: "system", content: system }] : []), { role: "user", content: prompt }],
      ...(most ? { max_completion_tokens: most } : {}),
      ...(stream ? { stream, stream_options: { include_usage: true } } : {}),
    }),
    whole: (reply) => ({ text: reply.choices?.[0]?.message?.content, thinking: reply.choices?.[0]?.message?.reasoning_content, usage: reply.usage }),
    step: (event) => ({
      text: event.choices?.[0]?.delta?.content,
      thinking: event.choices?.[0]?.delta?.reasoning_content ?? event.choices?.[0]?.delta?.reasoning,
      usage: event.usage,
    }),
  },
  messages: {
    path: "../v1/messages",
    body: ({ model, system, prompt, most, stream }) => ({
      model,
      max_tokens: most || 1024,
      ...(system ? { system } : {}),
      messages: [{ role: "user", content: prompt }],
      ...(stream ? { stream } : {}),
    }),
    whole: (reply) => ({
      text: (reply.content ?? []).map((part) => part.text ?? "").join(""),
      thinking: (reply.content ?? []).map((part) => part.thinking ?? "").join(""),
      usage: reply.usage,
    }),
    step: (event) => ({ text: event.delta?.text, thinking: event.delta?.thinking, usage: event.message?.usage ?? event.usage }),
  },
  responses: {
    path: "../v1/responses",
    body: ({ model, system, prompt, most, stream }) => ({
      model,
      input: prompt,
      ...(system ? { instructions: system } : {}),
      ...(most ? { max_output_tokens: most } : {}),
      ...(stream ? { stream } : {}),
    }),
    whole: (reply) => ({
      text: (reply.output ?? []).flatMap((item) => item.content ?? []).map((part) => part.text ?? "").join(""),
      usage: reply.usage,
    }),
    step: (event) => ({
      text: event.type === "response.output_text.delta" ? event.delta : undefined,
      thinking: /^response\.reasoning(_summary)?_text\.delta$/.test(event.type) ? event.delta : undefined,
      usage: event.response?.usage,
    }),
  },
};

export class Playground {
  constructor(headers) {
    this.headers = headers;
    this.controller = null;
    node("ask").addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask();
    });
    node("stop").addEventListener("click", () => this.controller?.abort());
    node("prompt").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) node("ask").requestSubmit();
    });
  }

  async ask() {
    if (this.controller) return;
    const api = APIS[node("api").value];
    const body = api.body({
      model: node("model").value.trim(),
      system: node("system").value,
      prompt: node("prompt").value,
      most: Number(node("max-tokens").value),
      stream: node("stream").checked,
    });
    this.begin(api, body);
    try {
      const response = await fetch(api.path, {
        method: "POST",
        headers: { "content-type": "application/json", ...this.headers() },
        body: JSON.stringify(body),
        signal: this.controller.signal,
      });
      await this.receive(api, response);
    } catch (error) {
      node("answer-error").textContent = error.name === "AbortError" ? "Stopped." : `The answer broke off: ${error.message}`;
    } finally {
      this.end();
    }
  }

  begin(api, body) {
    this.controller = new AbortController();
    this.started = performance.now();
    this.facts = new Map();
    this.usage = {};
    for (const id of ["answer", "thinking", "answer-error", "raw"]) node(id).textContent = "";
    node("thinking-box").hidden = true;
    node("sent").textContent = `POST ${new URL(api.path, document.baseURI).pathname}\n\n${JSON.stringify(body, null, 2)}`;
    node("answer").setAttribute("aria-busy", "true");
    node("send").disabled = true;
    node("stop").disabled = false;
    this.say("Status", "waiting");
  }

  end() {
    this.say("Time taken", this.elapsed());
    const input = this.usage.prompt_tokens ?? this.usage.input_tokens;
    const output = this.usage.completion_tokens ?? this.usage.output_tokens;
    if (input !== undefined || output !== undefined) this.say("Tokens", `${count(input ?? 0)} in, ${count(output ?? 0)} out`);
    if (this.facts.get("Status") === "waiting") this.say("Status", "none");
    node("answer").setAttribute("aria-busy", "false");
    node("send").disabled = false;
    node("stop").disabled = true;
    this.controller = null;
  }

  async receive(api, response) {
    this.say("Status", String(response.status));
    this.say("Request id", response.headers.get("x-request-id"));
    this.say("Lost in translation", response.headers.get("x-plano-dropped"));
    const kind = response.headers.get("content-type") ?? "";
    if (kind.includes("event-stream")) return this.follow(api, response);
    const text = await response.text();
    this.raw(text);
    const reply = JSON.parse(text);
    if (reply.error) this.fail(reply.error);
    else this.take(api.whole(reply));
  }

  async follow(api, response) {
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      const text = done ? decoder.decode() : decoder.decode(value, { stream: true });
      this.raw(text);
      const frames = (rest + text).split(/\r\n\r\n|\n\n|\r\r/);
      rest = frames.pop();
      for (const frame of frames) this.step(api, frame);
      if (done) return;
    }
  }

  step(api, frame) {
    const lines = frame.split(/\r\n|\n|\r/).filter((line) => line.startsWith("data:"));
    const data = lines.map((line) => line.slice(5).replace(/^ /, "")).join("\n");
    if (!data || data === "[DONE]") return;
    const event = JSON.parse(data);
    const error = event.error ?? event.response?.error ?? (event.type === "error" ? event : null);
    if (error) this.fail(error);
    else this.take(api.step(event));
  }

  take({ text, thinking, usage }) {
    if (text || thinking) {
      if (!this.facts.has("First token")) this.say("First token", this.elapsed());
    }
    if (thinking) {
      node("thinking-box").hidden = false;
      node("thinking").append(thinking);
    }
    if (text) node("answer").append(text);
    for (const [name, value] of Object.entries(usage ?? {})) if (value !== null) this.usage[name] = value;
  }

  fail(error) {
    node("answer-error").textContent = typeof error === "string" ? error : (error.message ?? "The request failed without a message.");
  }

  raw(text) {
    if (node("raw").textContent.length < SHOWN) node("raw").append(text);
  }

  say(name, value) {
    if (value === null) return;
    this.facts.set(name, value);
    node("facts").replaceChildren(
      ...[...this.facts].map(([fact, said]) => element("div", {}, element("dt", {}, fact), element("dd", {}, said))),
    );
  }

  elapsed() {
    return seconds((performance.now() - this.started) / 1000);
  }
}
