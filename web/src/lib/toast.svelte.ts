/** Short messages about what was just done. */

export interface Toast {
  id: number;
  text: string;
  bad: boolean;
}

/** How long a message stays. */
const SHOWN_MS = 6000;
let last = 0;

class Toasts {
  all = $state.raw<Toast[]>([]);

  say(text: string, bad = false): void {
    const toast = { id: ++last, text, bad };
    this.all = [...this.all.slice(-2), toast];
    setTimeout(() => this.dismiss(toast.id), SHOWN_MS);
  }

  dismiss(id: number): void {
    this.all = this.all.filter((toast) => toast.id !== id);
  }
}

export const toasts = new Toasts();
