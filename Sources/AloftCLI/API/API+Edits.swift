import HTTPTypes
import JSON

extension API {
  /// Changes some labels of a resource and leaves the others.
  func editLabels(
    _ path: String, query: [(String, String)], edits: [LabelEdit], dryRun: Bool
  ) async throws(CommandFailure) -> JSONValue {
    try await edit(path, by: .patch, query: query, dryRun: dryRun) { current in
      ["labels": .object(LabelEdit.apply(edits, to: current["labels"]?.objectValue ?? JSONObject()))]
    }
  }

  /// Changes some limits and leaves the others.
  func editQuotas(_ path: String, edits: [QuotaEdit], dryRun: Bool) async throws(CommandFailure) -> JSONValue {
    try await edit(path, by: .put, query: [], dryRun: dryRun) { current in
      var limits = current.objectValue ?? JSONObject()
      for edit in edits { edit.apply(to: &limits) }
      return .object(limits)
    }
  }

  /// Changes a part of what is written as a whole, also when somebody else changes another part at the same time: it is
  /// written with `If-Match`, and read anew when that was refused.
  private func edit(
    _ path: String, by method: HTTPRequest.Method, query: [(String, String)], dryRun: Bool,
    _ change: (JSONValue) -> JSONValue
  ) async throws(CommandFailure) -> JSONValue {
    var attempt = 1
    while true {
      let current = try await send(APICall(.get, path, query: query))
      let call = APICall(
        method, path, query: query + (dryRun ? [("dry_run", "true")] : []), body: change(current.json),
        ifMatch: current.headers[.eTag])
      let response = try await raw(call)
      guard response.status == 412, attempt < Self.attempts else { return try accept(response, call).json }
      await surroundings.sleep(Self.pause(after: attempt))
      attempt += 1
    }
  }
}
