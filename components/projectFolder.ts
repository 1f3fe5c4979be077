import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { nearestProject, projectKey, projectVariable } from "./nearestProject";

/**
 * Folder of the Pulumi.yaml of the program that runs, where relative paths of the config start. Language hosts before
 * 3.67 do not tell it to the SDK; they run the program in or below the project, or, for a generated project, in the
 * package.
 */
export function projectFolder(): string {
  const told = process.env[projectVariable] ?? new pulumi.Config().get(projectKey) ?? pulumi.getRootDirectory();
  return existsSync(join(told, "Pulumi.yaml")) ? resolve(told) : (nearestProject(process.cwd()) ?? process.cwd());
}
