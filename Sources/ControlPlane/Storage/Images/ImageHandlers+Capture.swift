import AloftModel
import Foundation
import Postgres

/// Images that are made of volumes: the volume's node sends them.
extension ImageHandlers {
  /// What a new image is made of, as its creator says.
  struct CaptureSource: Sendable {
    var volume: String?
    var snapshot: String?
  }

  /// What was found for it. The volume is locked.
  struct Captured {
    var volume: VolumeRecord
    /// Nil: one is to be taken for this alone.
    var snapshot: SnapshotID?
    var architecture: String?
  }

  /// Finds and locks what an image is to be made of. Its project's volumes can be read so by whoever may make others of them.
  func requireCaptured(_ source: CaptureSource, _ call: Call, in session: Session) throws -> Captured {
    let project = try ProjectStore.require(call, in: session)
    try call.principal.require(.volumeWrite, project: project.description)
    let (id, snapshot): (VolumeID, SnapshotID?)
    let pointer = source.snapshot == nil ? "/source/volume" : "/source/snapshot"
    if let reference = source.snapshot {
      (id, snapshot) = try member(reference, source.volume, call, in: session)
    } else {
      (id, snapshot) = (try VolumeHandlers.Store.require(source.volume ?? "", call, at: pointer, in: session).id, nil)
    }
    guard let (volume, _) = try VolumeStore.lock(id, in: session) else {
      throw Problem.field(.notFound, pointer, "the volume was deleted a moment ago")
    }
    try VolumeHandlers.requireLiving(volume, to: "make an image of")
    try VolumeHandlers.requireStaying(volume, at: pointer)
    guard volume.facts.wasMade else {
      throw Problem.field(.wrongState, pointer, "volume \(volume.name) is not made yet; wait until it is")
    }
    guard volume.pool.kind == .directory else {
      throw Problem.field(
        .wrongState, pointer,
        "volume \(volume.name) is in a pool of kind \(volume.pool.kind.rawValue); images are made of those in pools of kind dir"
      )
    }
    if volume.isEncrypted {
      throw Problem.field(
        .encryptionUnsupported, pointer,
        "volume \(volume.name) is encrypted, and an image of it would not be; copy what it is to hold to a volume that is not"
      )
    }
    let architecture = try volume.imageID.flatMap { try ImageStore.find($0, in: session)?.architecture }
    return Captured(volume: volume, snapshot: snapshot, architecture: architecture)
  }

  /// One volume of a snapshot, which is locked.
  private func member(
    _ reference: String, _ volume: String?, _ call: Call, in session: Session
  ) throws -> (VolumeID, SnapshotID?) {
    let pointer = "/source/snapshot"
    let found = try ResourceStore<SnapshotRecord>.require(reference, call, at: pointer, in: session)
    guard let snapshot = try SnapshotStore.lock(found.id, in: session) else {
      throw Problem.field(.notFound, pointer, "the snapshot was deleted a moment ago")
    }
    guard snapshot.facts.state == .available else {
      throw Problem.field(.wrongState, pointer, "snapshot \(snapshot.name) is not available; wait until it is")
    }
    let members = snapshot.members.filter { member in
      volume.map { $0 == member.name || VolumeID($0) == VolumeID(member.volume) } ?? true
    }
    guard let member = members.first, members.count == 1 else {
      let names = snapshot.members.map(\.name).joined(separator: ", ")
      throw Problem.field(
        volume == nil ? .missingField : .notFound, "/source/volume",
        "snapshot \(snapshot.name) is of several volumes or others; say which: \(names)")
    }
    return (VolumeID(member.volume), snapshot.id)
  }

  /// Tells the volume's node. The image's row is there, the volume is locked and its document not yet changed.
  func beginCapture(_ id: ImageID, of captured: Captured, in session: Session) throws {
    let snapshot = captured.snapshot ?? SnapshotID(plane.environment.newUUID())
    try ImageCaptureStore.insert(
      id, of: captured.volume.id, snapshot, isOwn: captured.snapshot == nil, in: session)
  }
}
