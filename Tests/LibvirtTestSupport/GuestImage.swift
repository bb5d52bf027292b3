import Foundation
import TestSupport

/// Aloft's tiny guest (scripts/build-guest-image), built once for each version of its scripts.
public enum GuestImage {
  /// The image's path. Never to be written: make an ``overlay(at:)`` of it.
  public static func path() async throws -> String { try await task.value }

  private static let task = Task {
    let version = try await run(
      "bash", "-c",
      "cd '\(repositoryRoot.path)/scripts' && cat build-guest-image guest-image.d/* | sha256sum | cut -c1-16")
    let name = version.trimmingCharacters(in: .whitespacesAndNewlines)
    let image = repositoryRoot.appending(path: ".build/guest-image/\(name).qcow2").path
    if !FileManager.default.fileExists(atPath: image) { try await run(script("build-guest-image"), image) }
    return image
  }

  /// Makes a disk that starts as the image and keeps its own changes.
  public static func overlay(at path: String) async throws {
    try await run("qemu-img", "create", "-q", "-f", "qcow2", "-b", try await Self.path(), "-F", "qcow2", path)
  }

  /// Makes a NoCloud seed disk.
  public static func seed(at path: String, hostname: String, userData: String = "#cloud-config\n") async throws {
    let folder = path + ".d"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try "instance-id: i-\(hostname)\nlocal-hostname: \(hostname)\n"
      .write(toFile: folder + "/meta-data", atomically: false, encoding: .utf8)
    try userData.write(toFile: folder + "/user-data", atomically: false, encoding: .utf8)
    try await run(
      "genisoimage", "-quiet", "-output", path, "-volid", "cidata", "-joliet", "-rock", folder + "/meta-data",
      folder + "/user-data")
  }
}
