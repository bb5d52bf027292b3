import AloftModel
import FoundationEssentials
import HTTPClient
import HTTPTypes
import JSON

extension HTTPControlPlaneLink {
  /// For how long no byte may move.
  private static let backupIdle = Duration.seconds(60)
  /// Behind the last byte of a manifest its chunks are looked at.
  private static let manifestIdle = Duration.seconds(600)

  public func tell(_ report: ExportReport, of backup: BackupID) async throws(AgentFailure) {
    _ = try await ask(.put, "\(backup)/progress", json: report)
  }

  public func missing(_ chunks: ChunkList, of backup: BackupID) async throws(AgentFailure) -> ChunkList {
    let response = try await ask(.post, "\(backup)/missing", json: chunks)
    do { return try JSONCoder.decode(ChunkList.self, from: response.body) } catch {
      throw AgentFailure(.controlPlaneUnavailable, "the control plane does not say what of backup \(backup) is missing")
    }
  }

  public func send(_ bytes: [UInt8], asChunk hash: ChunkHash, of backup: BackupID) async throws(AgentFailure) {
    _ = try await ask(.put, "\(backup)/chunks/\(hash)", .bytes(bytes))
  }

  public func send(_ manifest: [UInt8], asManifestOf backup: BackupID) async throws(AgentFailure) {
    _ = try await ask(.put, "\(backup)/manifest", .bytes(manifest), idle: Self.manifestIdle)
  }

  public func manifest(of backup: BackupID) async throws(AgentFailure) -> [UInt8] {
    try await ask(.get, "\(backup)/manifest", .none, mostBytes: BackupManifest.mostText).body
  }

  public func chunk(
    _ chunk: BackupManifest.Chunk, of backup: BackupID, size: Int
  ) async throws(AgentFailure) -> [UInt8] {
    try await ask(.get, "\(backup)/chunks/\(chunk.owner)/\(chunk.hash)", .none, mostBytes: max(size, 1 << 16)).body
  }

  private func ask(
    _ method: HTTPRequest.Method, _ path: String, json value: some Encodable
  ) async throws(AgentFailure) -> HTTPClientResponse {
    let body: [UInt8]
    do { body = try JSONCoder.encode(value) } catch {
      throw AgentFailure(.controlPlaneRefused, "a request to \(path) cannot be written: \(error)")
    }
    return try await ask(method, path, .bytes(body), [.contentType: "application/json"])
  }

  /// Asks the replica that answered last; the next attempt asks another one.
  private func ask(
    _ method: HTTPRequest.Method, _ path: String, _ body: HTTPClientBody,
    _ headers: HTTPFields = [.contentType: "application/octet-stream"],
    idle: Duration = HTTPControlPlaneLink.backupIdle,
    mostBytes: Int = HTTPClient.defaultBodyLimit
  ) async throws(AgentFailure) -> HTTPClientResponse {
    let (client, url) = reached
    let request = HTTPClientRequest(
      method: method, url: "\(url)/agent/v1/backups/\(path)", headers: headers, body: body, idleTimeout: idle,
      isIdempotent: true)
    do throws(HTTPClientError) {
      let response = try await client.send(request, deadline: nil, maxBodyBytes: mostBytes)
      guard (200...299).contains(response.status) else {
        throw HTTPClientError(
          kind: .unexpectedStatus(response.status), origin: url, detail: "", responseBody: response.body)
      }
      return response
    } catch {
      let problem = try? JSONCoder.decode(Problem.self, from: error.responseBody)
      if let problem, problem.code == .backupDamaged { throw AgentFailure(.backupDamaged, problem.detail) }
      if case .tooLarge = error.kind {
        throw AgentFailure(.backupDamaged, "something of a backup is larger than it can be: \(error.detail)")
      }
      let failure = AgentFailure(error)
      if failure.kind == .controlPlaneUnavailable { tryAnother() }
      throw failure
    }
  }
}
