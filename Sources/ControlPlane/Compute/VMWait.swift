import AloftModel
import Foundation
import HTTPTypes
import JSON
import Postgres

extension Plane {
  /// Honours `Prefer: wait`: 200 with the resource and its ended operation, or the 202 when the time is over. The change is
  /// committed: whatever goes wrong while its end is waited for, the 202 is the truth.
  func waited(_ call: Call, _ reply: Reply) async -> Reply {
    guard let wait = call.preferredWait, reply.status == .accepted, case .bytes(let bytes) = reply.body else {
      return reply
    }
    do {
      return try await ended(reply, bytes, within: wait) ?? reply
    } catch {
      if !Task.isCancelled {
        logger.warning(
          "the end of an accepted change could not be waited for",
          metadata: ["request": "\(call.requestID)", "error": "\(error)"])
      }
      return reply
    }
  }

  /// The answer once the operation of an accepted change has ended; nil when it has not.
  private func ended(_ reply: Reply, _ body: [UInt8], within wait: Duration) async throws -> Reply? {
    guard case .object(let accepted) = try JSONValue.parse(body),
      let operation = accepted["operation"]?["id"]?.stringValue.flatMap({ OperationID($0) }),
      let ended = try await self.operation(operation, waitingUpTo: wait), ended.finishedAt != nil
    else { return nil }
    var answer = reply
    answer.status = .ok
    answer.headers[header: "Preference-Applied"] = "wait=\(wait.components.seconds)"
    let id = accepted["id"]?.stringValue ?? ""
    if let vm = VMID(id), var record = try await database.run({ session in try VMStore.find(vm, in: session) }) {
      record.operation = ended
      answer.body = .bytes(record.jsonBytes)
      answer.headers[.eTag] = record.etag
    } else if let nic = NICID(id),
      var record = try await database.run({ session in try ResourceStore<NICRecord>.find(nic, in: session) })
    {
      record.operation = ended
      answer.body = .bytes(record.jsonBytes)
      answer.headers[.eTag] = record.etag
    } else if let image = ImageID(id), var record = try await database.run({ try ImageStore.find(image, in: $0) }) {
      record.operation = ended
      answer.body = .bytes(record.jsonBytes)
      answer.headers[.eTag] = record.etag
    } else {
      // Deleted meanwhile: what it was, with the operation as it ended.
      var last = accepted
      last["operation"] = try JSONValue.parse(ended.jsonBytes)
      answer.body = .bytes(JSONValue.object(last).bytes)
    }
    return answer
  }
}
