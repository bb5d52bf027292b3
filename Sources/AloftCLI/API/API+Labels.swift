import JSON

extension API {
  /// Changes some labels of a resource and leaves the others, also when somebody else changes them at the same time:
  /// the whole set is written with `If-Match`, and read anew when it was refused.
  func editLabels(
    _ path: String, query: [(String, String)], edits: [LabelEdit], dryRun: Bool
  ) async throws(CommandFailure) -> JSONValue {
    var attempt = 1
    while true {
      let current = try await send(APICall(.get, path, query: query))
      let labels = LabelEdit.apply(edits, to: current.json["labels"]?.objectValue ?? JSONObject())
      let call = APICall(
        .patch, path, query: query + (dryRun ? [("dry_run", "true")] : []), body: ["labels": .object(labels)],
        ifMatch: current.headers[.eTag])
      let response = try await raw(call)
      guard response.status == 412, attempt < Self.attempts else { return try accept(response, call).json }
      await surroundings.sleep(Self.pause(after: attempt))
      attempt += 1
    }
  }
}
