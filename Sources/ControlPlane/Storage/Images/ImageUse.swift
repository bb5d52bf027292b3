import AloftModel
import Foundation
import Postgres

/// What anybody asks of an image before making a disk from it.
extension ImageStore {
  /// An image that the call's project sees, that has its content.
  static func requireReady(_ reference: String, _ call: Call, at pointer: String, in session: Session) throws
    -> ImageRecord
  {
    guard let image = try find(reference, project: ProjectStore.id(call), in: session) else {
      _ = try ProjectStore.require(call, in: session)
      throw Problem(
        .imageUnknown, "there is no image \(reference) in this project; GET /v1/images lists them",
        errors: [.init(code: .imageUnknown, detail: "unknown", pointer: pointer)])
    }
    guard image.isReady else {
      throw Problem(
        .imageNotReady, "image \(image.name) waits for its content; PUT it to /v1/images/\(image.name)/content first",
        errors: [.init(code: .imageNotReady, detail: "has no content yet", pointer: pointer)])
    }
    return image
  }
}

extension ImageRecord {
  /// Refuses a disk that is smaller than the image, or than its owner says it must be.
  func requireFits(gib: Int, at pointer: String) throws(Problem) {
    if gib >= smallestDiskGiB { return }
    throw Problem(
      .outOfRange, "image \(name) needs a disk of at least \(smallestDiskGiB) GiB",
      errors: [.init(code: .outOfRange, detail: "at least \(smallestDiskGiB)", pointer: pointer)])
  }

  /// Refuses a VM that the image's owner says it would not run in. Nodes start guests by BIOS.
  func requireRuns(memoryMiB: Int) throws(Problem) {
    if properties.firmware == .uefi {
      throw Problem(
        .imageUnsuitable, "image \(name) is started by UEFI, which no node of this cloud has; use one for BIOS",
        errors: [.init(code: .imageUnsuitable, detail: "needs UEFI", pointer: "/image")])
    }
    guard let least = properties.minMemoryMib, memoryMiB < least else { return }
    throw Problem(
      .outOfRange, "image \(name) needs at least \(least) MiB of memory",
      errors: [.init(code: .outOfRange, detail: "at least \(least)", pointer: "/memory_mib")])
  }
}
