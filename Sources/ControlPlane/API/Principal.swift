import AloftModel
import Foundation

/// Who makes a call.
enum Principal: Sendable, Equatable {
  /// The holder of an API token; `seal` is what only that holder can compute, to seal stored answers with.
  case admin(token: UUID, seal: [UInt8])
  /// Nobody: the operation is open to all.
  case anonymous

  /// As the audit shows it.
  var name: String {
    switch self {
    case .admin(let token, _): "token:\(token.uuidString.lowercased())"
    case .anonymous: "anonymous"
    }
  }
}
