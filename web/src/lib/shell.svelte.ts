/** What the frame around the pages shows: projects, and the state of the current one. */
import { get, inProject } from './api';
import { Resource } from './resource.svelte';
import type { Overview, Page } from './types';

export interface ProjectName {
  name: string;
}

/** The state of the project over the last 24 hours, without a filter. */
export const state = new Resource<Overview>();
export const projects = new Resource<Page<ProjectName>>();

export function loadState(project: string): Promise<void> {
  return state.load((signal) =>
    get<Overview>(inProject(project, 'overview'), { from: '-24h', to: 'now' }, signal),
  );
}

export function loadProjects(): Promise<void> {
  return projects.load((signal) => get<Page<ProjectName>>('projects', {}, signal));
}
