/** Light, dark, or as the system says; paper is light. */
import { paper } from './paper.svelte';

export type Theme = 'system' | 'light' | 'dark';
const STORED = 'guard.theme';
const dark = matchMedia('(prefers-color-scheme: dark)');

function stored(): Theme {
  const value = localStorage.getItem(STORED);
  return value === 'light' || value === 'dark' ? value : 'system';
}

class ThemeState {
  chosen = $state<Theme>(stored());
  #system = $state(dark.matches);

  constructor() {
    dark.addEventListener('change', () => (this.#system = dark.matches));
  }

  /** The theme that is shown. Charts read it to draw again when it changes. */
  get shown(): 'light' | 'dark' {
    if (paper.printing) return 'light';
    if (this.chosen !== 'system') return this.chosen;
    return this.#system ? 'dark' : 'light';
  }

  choose(theme: Theme): void {
    this.chosen = theme;
    if (theme === 'system') localStorage.removeItem(STORED);
    else localStorage.setItem(STORED, theme);
  }

  /** Gives the page the theme. */
  apply(): void {
    document.documentElement.dataset.theme = this.shown;
  }
}

export const theme = new ThemeState();
