import CLibvirt

/// What libvirt said when a call failed.
public struct LibvirtError: Error, Sendable, Hashable, CustomStringConvertible {
  /// The errors that callers act on; `virErrorNumber` in libvirt. All others are `other` with libvirt's number.
  public enum Code: Sendable, Hashable {
    /// The domain does not exist (any more).
    case noDomain
    /// The domain has no metadata under the namespace asked for.
    case noDomainMetadata
    /// The domain's name or UUID is in use by another one.
    case domainExists
    /// The object is in the wrong state for the call, such as starting a running domain.
    case operationInvalid
    case operationFailed
    case operationUnsupported
    case operationTimeout
    case operationAborted
    /// The driver does not have the call at all.
    case notSupported
    case configurationUnsupported
    case argumentUnsupported
    case invalidArgument
    /// The XML is malformed, or well-formed but not what libvirt expects.
    case invalidXML
    case noStoragePool
    case noStorageVolume
    case storageVolumeExists
    case noNetwork
    case noDomainSnapshot
    /// The device to change or remove is not there.
    case deviceMissing
    case agentUnresponsive
    case resourceBusy
    case migrationUnsafe
    case cpuIncompatible
    /// libvirtd cannot be reached, or the connection was lost or closed.
    case connectionLost
    case accessDenied
    case internalError
    case systemError
    case other(Int)

    init(number: Int) {
      switch number {
      case 1: self = .internalError
      case 3: self = .notSupported
      case 5, 6, 39: self = .connectionLost
      case 8: self = .invalidArgument
      case 9: self = .operationFailed
      case 27, 35, 92: self = .invalidXML
      case 28: self = .domainExists
      case 29, 45, 88: self = .accessDenied
      case 38: self = .systemError
      case 42: self = .noDomain
      case 43: self = .noNetwork
      case 49: self = .noStoragePool
      case 50: self = .noStorageVolume
      case 55: self = .operationInvalid
      case 67: self = .configurationUnsupported
      case 68: self = .operationTimeout
      case 72: self = .noDomainSnapshot
      case 74: self = .argumentUnsupported
      case 78: self = .operationAborted
      case 80: self = .noDomainMetadata
      case 81: self = .migrationUnsafe
      case 84: self = .operationUnsupported
      case 86: self = .agentUnresponsive
      case 87: self = .resourceBusy
      case 90: self = .storageVolumeExists
      case 91: self = .cpuIncompatible
      case 99: self = .deviceMissing
      default: self = .other(number)
      }
    }
  }

  public let code: Code
  /// The part of libvirt that failed: `virErrorDomain`, such as 10 for the QEMU driver; 0 for this module itself.
  public let domain: Int
  /// libvirt's own sentence, in the language of its process.
  public let message: String

  public init(_ code: Code, domain: Int = 0, message: String) {
    self.code = code
    self.domain = domain
    self.message = message
  }

  public var description: String { "libvirt error \(code): \(message)" }

  static let closed = LibvirtError(.connectionLost, message: "the connection to libvirt was closed")

  /// The error of the call that just failed. libvirt keeps it for each thread: to be read on the calling thread, at once.
  static func last() -> LibvirtError {
    guard let error = virGetLastError() else { return LibvirtError(.internalError, message: "no error was reported") }
    let message = error.pointee.message.map { String(cString: $0) } ?? ""
    return LibvirtError(Code(number: Int(error.pointee.code)), domain: Int(error.pointee.domain), message: message)
  }

  /// Throws ``last()`` if a call's result says that it failed.
  @discardableResult
  static func check(_ result: Int32) throws(LibvirtError) -> Int32 {
    guard result >= 0 else { throw last() }
    return result
  }
}
