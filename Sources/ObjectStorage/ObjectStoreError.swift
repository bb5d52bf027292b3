/// Why a store did not do what it was asked. A closed list.
public enum ObjectStoreError: Error, Sendable, Equatable {
  /// No name of an object, or in a directory one that is a folder of others.
  case invalidKey(String)
  /// No such object.
  case notFound(ObjectKey)
  /// No such upload: it was finished, aborted or collected.
  case unknownUpload
  /// Somebody else has the upload open, or two calls were made at a time.
  case uploadInUse
  /// The store has lost bytes that were durable, or has others: begin anew.
  case uploadDamaged
  /// Bytes for another place than the next one.
  case wrongOffset(expected: Int64)
  /// The object has another size than it should have.
  case sizeMismatch(expected: Int64, actual: Int64)
  /// The object has another SHA-256 than it should have.
  case checksumMismatch(expected: String, actual: String)
  /// The object has fewer bytes than the range begins at.
  case rangeNotSatisfiable(size: Int64)
  /// More bytes than the upload may have.
  case tooLarge(limit: Int64)
  /// No room is left in the store.
  case storeFull
  /// The store does not let us: the credentials are wrong, or may not.
  case accessDenied(String)
  /// The bucket or directory is not there, or the endpoint or region is another's.
  case misconfigured(String)
  /// The store did not answer well for as long as was tried.
  case unavailable(String)
  /// The store answered what makes no sense.
  case protocolViolation(String)
  /// The object was replaced while it was read.
  case changed(ObjectKey)
  /// A file operation failed.
  case file(operation: String, errno: Int32)
  /// The task was cancelled.
  case cancelled
}

extension ObjectStoreError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .invalidKey(let key):
      "`\(key)` is no object name: letters, digits, `.`, `_`, `-`, and `/` between segments that do not begin with a dot"
    case .notFound(let key): "there is no object \(key)"
    case .unknownUpload: "there is no such upload; it was finished, aborted or removed"
    case .uploadInUse: "the upload is in use; one at a time can write"
    case .uploadDamaged: "the store has lost some of the upload; begin it anew"
    case .wrongOffset(let expected): "the next byte must be number \(expected)"
    case .sizeMismatch(let expected, let actual): "there are \(actual) bytes where \(expected) should be"
    case .checksumMismatch(let expected, let actual): "the SHA-256 is \(actual), it should be \(expected)"
    case .rangeNotSatisfiable(let size): "the object has only \(size) bytes"
    case .tooLarge(let limit): "the upload may have at most \(limit) bytes; give its size when it begins to have more"
    case .storeFull: "the store is full"
    case .accessDenied(let detail): "the store refuses access: \(detail)"
    case .misconfigured(let detail): "the store is not set up as configured: \(detail)"
    case .unavailable(let detail): "the store is not available: \(detail)"
    case .protocolViolation(let detail): "the store's answer makes no sense: \(detail)"
    case .changed(let key): "the object \(key) was replaced while it was read"
    case .file(let operation, let errno): "\(operation) failed with errno \(errno)"
    case .cancelled: "cancelled"
    }
  }
}
