import AloftModel
import Foundation
import JSON
import Postgres

/// Who may use an image besides its own project.
extension ImageHandlers {
  private struct Share: Sendable, JSONWritable {
    var project: ProjectID
    var createdAt: Date

    func write(to writer: inout JSONWriter) {
      writer.object { writer in
        writer.field("project_id", project)
        writer.field("created_at", createdAt)
      }
    }
  }

  func listShares(_ call: Call) async throws -> Reply {
    let cursor = try call.cursor()
    let shares = try await plane.database.run { session -> [Share] in
      let image = try ImageStore.requireOwn(call, in: session)
      return try session.query(
        """
        SELECT project_id, created_at FROM image_shares
         WHERE image_id = \(image.id) AND (\(cursor)::uuid IS NULL OR project_id > \(cursor))
         ORDER BY project_id LIMIT \(call.limit + 1)
        """
      ).map { Share(project: try $0.get(0), createdAt: try $0.get(1)) }
    }
    return .page(shares, limit: call.limit) { $0.project.uuid }
  }

  func share(_ call: Call) async throws -> Reply {
    try await plane.change(call) { session in
      let image = try ImageStore.lock(call, in: session)
      try call.requireMatch(image.etag)
      let target = try self.target(call, in: session)
      guard target != image.projectID else {
        throw Problem(.wrongState, "image \(image.name) belongs to this project; share it with another one")
      }
      let count = try session.execute(
        """
        INSERT INTO image_shares (image_id, project_id) VALUES (\(image.id), \(target)) ON CONFLICT DO NOTHING
        """)
      if count > 0 { try note(.imageShared, image, target, in: session) }
      return try changed(image.id, call, image.projectID, in: session)
    }
  }

  /// What was made from the image stays with whoever made it.
  func unshare(_ call: Call) async throws -> Reply {
    try await plane.change(call) { session in
      let image = try ImageStore.lock(call, in: session)
      try call.requireMatch(image.etag)
      let target = try self.target(call, in: session)
      let count = try session.execute(
        "DELETE FROM image_shares WHERE image_id = \(image.id) AND project_id = \(target)")
      guard count > 0 else {
        throw Problem(.notFound, "image \(image.name) is not shared with project \(call.string("target") ?? "")")
      }
      try note(.imageUnshared, image, target, in: session)
      return try changed(image.id, call, image.projectID, in: session)
    }
  }

  /// By id any project there is; by name only one that the caller sees, or names could be found out.
  private func target(_ call: Call, in session: Session) throws -> ProjectID {
    let reference = call.string("target") ?? ""
    guard let project = try ProjectStore.find(reference, in: session)?.id,
      ProjectID(reference) != nil || call.principal.access(.projectRead, project: project.description) == .granted
    else {
      throw Problem(.notFound, "there is no project \(reference) that you can see; name it by its id, `prj_…`")
    }
    return project
  }

  private func note(_ kind: EventKind, _ image: ImageRecord, _ target: ProjectID, in session: Session) throws {
    try session.execute(
      "UPDATE images SET revision = revision + 1, updated_at = aloft_now() WHERE id = \(image.id)")
    try EventStore.append(
      kind, project: image.projectID, resource: image.id.uuid, data: ["name": image.name, "with": target.description],
      in: session)
  }

  func publish(_ call: Call) async throws -> Reply { try await setPublic(true, call) }

  func unpublish(_ call: Call) async throws -> Reply { try await setPublic(false, call) }

  private func setPublic(_ isPublic: Bool, _ call: Call) async throws -> Reply {
    try await plane.change(call) { session in
      let image = try ImageStore.lock(call, in: session)
      try call.requireMatch(image.etag)
      if isPublic, !image.isReady {
        throw Problem(.imageNotReady, "image \(image.name) has no content yet that everybody could use")
      }
      let count = try session.execute(
        """
        UPDATE images SET is_public = \(isPublic), revision = revision + 1, updated_at = aloft_now()
         WHERE id = \(image.id) AND is_public <> \(isPublic)
        """)
      if count > 0 {
        try EventStore.append(
          isPublic ? .imagePublished : .imageUnpublished, project: image.projectID, resource: image.id.uuid,
          data: ["name": image.name], in: session)
      }
      return try changed(image.id, call, image.projectID, in: session)
    }
  }
}
