import AloftModel
import Crypto

/// Tokens as those of EC2's second instance metadata service: a program inside the guest that can be made to fetch a URL, but
/// not to send a PUT with a field of its own, learns nothing. Signed, not stored; a new process of the agent knows none.
struct MetadataTokens: Sendable {
  static let lifetimes = 1...21_600

  private let key: SymmetricKey

  init(key: SymmetricKey = SymmetricKey(size: .bits256)) { self.key = key }

  /// - Parameters:
  ///   - seconds: how long it is good.
  ///   - now: seconds of uptime.
  func issue(to vm: VMID, seconds: Int, now: Int) -> String {
    let end = now + seconds
    return "\(end)-" + signature(vm, end).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  /// Whether this VM was given the token, and may still use it.
  func accepts(_ token: String, of vm: VMID, now: Int) -> Bool {
    let parts = token.split(separator: "-", omittingEmptySubsequences: false)
    guard parts.count == 2, let end = Int(parts[0]), end > now, parts[1].utf8.count == 64 else { return false }
    let digits = parts[1].compactMap(\.hexDigitValue)
    guard digits.count == 64 else { return false }
    let given = stride(from: 0, to: 64, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
    return HMAC<SHA256>.isValidAuthenticationCode(given, authenticating: Self.message(vm, end), using: key)
  }

  private func signature(_ vm: VMID, _ end: Int) -> HMAC<SHA256>.MAC {
    HMAC<SHA256>.authenticationCode(for: Self.message(vm, end), using: key)
  }

  private static func message(_ vm: VMID, _ end: Int) -> [UInt8] { Array("\(vm) \(end)".utf8) }
}
