// From bytes in the browser to an import on the server: upload, dataset, import. A retry goes on at the step that failed.
import { ask, Problem, problemFrom, proof, text, unreachable } from "./page";

const MOST_NAME_CHARACTERS = 300;
const MOST_NAMES_TRIED = 100;

export interface Parcel {
  // What the upload is called, such as `digits.tar`.
  name: string;
  blob: Blob;
  datasetName: string;
}

export class Delivery {
  private uploadId = "";
  private readonly key = newKey();

  // `datasetId` is empty for a dataset that is still to be made.
  constructor(
    private readonly api: string,
    private readonly parcel: Parcel,
    public datasetId: string,
  ) {}

  get isSent(): boolean {
    return this.uploadId !== "";
  }

  async send(progress: (sentBytes: number) => void, signal: AbortSignal): Promise<void> {
    if (this.isSent) return;
    const address = `${this.api}/uploads?name=${encodeURIComponent(this.parcel.name)}`;
    try {
      this.uploadId = (await post<{ id: string }>(address, this.parcel.blob, progress, signal)).id;
    } catch (error) {
      throw error instanceof Problem && error.status === 0 ? await this.whyBroken() : error;
    }
  }

  // A browser tells nothing of why bytes did not arrive: the server may be gone, or a file has changed since it was chosen.
  private async whyBroken(): Promise<unknown> {
    try {
      await ask("GET", `${this.api}/datasets?limit=1`);
    } catch (error) {
      return error;
    }
    return new Problem(0, "broken", text("upload broken"), text("upload broken hint"));
  }

  async start(): Promise<void> {
    this.datasetId ||= await this.makeDataset();
    const address = `${this.api}/datasets/${this.datasetId}/imports`;
    await ask("POST", address, { upload_id: this.uploadId }, { "Idempotency-Key": this.key });
  }

  // The first name that is free: "cats", "cats 2", "cats 3".
  private async makeDataset(): Promise<string> {
    for (let number = 1; ; number++) {
      const name = numbered(this.parcel.datasetName, number);
      try {
        return (await ask<{ id: string }>("POST", `${this.api}/datasets`, { name })).id;
      } catch (error) {
        const isTaken = error instanceof Problem && error.status === 409;
        if (!isTaken || number === MOST_NAMES_TRIED) throw error;
      }
    }
  }
}

function numbered(name: string, number: number): string {
  const end = number === 1 ? "" : ` ${number}`;
  return [...name].slice(0, MOST_NAME_CHARACTERS - end.length).join("") + end;
}

// `crypto.randomUUID` is missing on pages that came without TLS.
function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// `fetch` tells nothing of how much has been sent.
function post<T>(address: string, body: Blob, progress: (sentBytes: number) => void, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", address);
    const headers = { ...proof(), "Content-Type": body.type || "application/octet-stream" };
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => progress(event.loaded);
    request.onload = () => (request.status < 300 ? resolve(JSON.parse(request.responseText)) : reject(problemFrom(request.status, request.responseText)));
    request.onerror = () => reject(unreachable());
    request.onabort = () => reject(signal.reason);
    signal.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}
