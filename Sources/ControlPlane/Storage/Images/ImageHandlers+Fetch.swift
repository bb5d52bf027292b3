import AloftModel
import Foundation
import Postgres

extension ImageHandlers {
  /// A URL to fetch from, if it can be one as far as can be seen without resolving its host.
  func fetchSource(_ url: String) throws -> String {
    let pointer = "/source/url"
    switch plane.outgoing.refusal(of: url) {
    case nil: return url
    case .malformed(let why): throw Problem.field(.badFormat, pointer, why)
    case .notEncrypted:
      throw Problem.field(.urlRefused, pointer, "the operator of this cloud allows https only; use another URL")
    case .address(let refusal):
      throw Problem.field(
        .urlRefused, pointer,
        "the host's address is not public (\(refusal.summary)), and the operator does not allow it; use another URL")
    }
  }

  /// The image stays and waits for its content.
  func cancelFetch(_ call: Call) async throws -> Reply {
    try await plane.change(call) { session in
      let image = try ImageStore.lock(call, in: session)
      guard image.operation != nil else {
        throw Problem(.wrongState, "image \(image.name) is neither being fetched nor made of a volume")
      }
      var effects = Effects()
      try ImageFetchStore.cancel(image, in: session, &effects)
      try ImageCaptureStore.cancel(image, in: session, &effects)
      var changed = try changed(image.id, call, image.projectID, in: session)
      changed.effects.wake.formUnion(effects.wake)
      return changed
    }
  }
}
