import AloftModel
import Foundation
import ObjectStorage
import Postgres

/// Compares what the image store has of backups with what the database says: names and sizes, not contents.
struct BackupCheck: Sendable {
  let database: Database
  let images: ImageContents

  func findings() async throws -> [ConsistencyCheck.Finding] {
    // Objects before rows: what was there and is still named must be there now.
    let before = try await list()
    let rows = try await rows(whole: true)
    let known = try await self.rows(whole: false)
    let found = try await list()
    var findings: [ConsistencyCheck.Finding] = []
    for (key, bytes) in rows where found[key] != bytes {
      // It may have been cleared away meanwhile.
      if try await self.rows(whole: true)[key] == nil { continue }
      let what = found[key].map { "\($0) bytes, not \(bytes)" } ?? "missing"
      findings.append(.init(rule: "every chunk of a backup is there", detail: "object \(key): \(what)"))
    }
    let living = try await manifests()
    for name in living.keys.sorted() where found[name] == nil {
      findings.append(.init(rule: "every backup has its manifest", detail: "object \(name) is missing"))
    }
    let backups = try await folders()
    for key in before.keys.sorted() where known[key] == nil && found[key] != nil {
      let folder = key[..<(key.lastIndex(of: "/") ?? key.startIndex)]
      let isManifest = key[folder.endIndex...].hasPrefix("/manifest-")
      // One that a retry has written goes with its backup.
      if isManifest, backups.contains(String(folder)) { continue }
      findings.append(.init(rule: "what is stored of backups belongs to one", detail: "object \(key) is nobody's"))
    }
    return findings
  }

  private func list() async throws -> [String: Int] {
    var objects: [String: Int] = [:]
    var continuation: String?
    repeat {
      let page = try await images.store.list(prefix: BackupContents.prefix, continuation: continuation, limit: 1000)
      for object in page.objects { objects[object.key.text] = Int(object.size) }
      continuation = page.next
    } while continuation != nil
    return objects
  }

  /// The objects of chunks, with their sizes: those that are whole, or also those that are coming.
  private func rows(whole: Bool) async throws -> [String: Int] {
    let rows = try await database.query(
      """
      SELECT format('backups/%s/%s/%s', b.project_id, b.id, encode(c.sha256, 'hex')), c.bytes
        FROM backup_chunks c JOIN backups b ON b.id = c.backup_id WHERE c.stored OR NOT \(whole)
      """)
    return Dictionary(
      try rows.map { (try $0.get(0, as: String.self), try $0.get(1, as: Int.self)) }, uniquingKeysWith: { $1 })
  }

  private func manifests() async throws -> [String: String] {
    let rows = try await database.query(
      """
      SELECT format('backups/%s/%s/manifest-%s', project_id, id, manifest_sha256), name FROM backups
       WHERE state IN ('available', 'damaged') AND deleted_at IS NULL
      """)
    return Dictionary(
      try rows.map { (try $0.get(0, as: String.self), try $0.get(1, as: String.self)) }, uniquingKeysWith: { $1 })
  }

  private func folders() async throws -> Set<String> {
    Set(
      try await database.query("SELECT format('backups/%s/%s', project_id, id) FROM backups").map { try $0.get(0) })
  }
}
