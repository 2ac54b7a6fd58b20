/** Runs a change. Returns what went wrong in words, or null. */
import { ApiError } from './api';

export async function attempt(work: () => Promise<unknown>): Promise<string | null> {
  try {
    await work();
    return null;
  } catch (error) {
    return error instanceof ApiError ? error.detail : String(error);
  }
}

/** What went wrong, and at which field of a form. */
export interface Failure {
  detail: string;
  field: string | null;
  /** The change needs `"confirm": true`. */
  confirm: boolean;
}

export async function tryChange(work: () => Promise<unknown>): Promise<Failure | null> {
  try {
    await work();
    return null;
  } catch (error) {
    const known = error instanceof ApiError ? error : new ApiError(0, String(error));
    return { detail: known.detail, field: known.field, confirm: known.status === 409 };
  }
}
