import AloftModel
import Execution
import Foundation

/// Slows down who tries passwords, without letting anybody keep somebody else out for long. Each replica counts for itself.
///
/// Failed logins are counted three times: for the address, for the account as tried from that address, and for the account as
/// tried from all addresses where its owner has not logged in lately. So one address gets few guesses at one account, many
/// addresses together get few guesses at it too, and the owner, who comes from where they came before, waits for neither.
///
/// Invariants:
/// - What is refused here costs neither a hash nor, for an address, a look into the database.
/// - Nobody is locked out: with each interval there is room for one more try.
/// - Memory is bounded: ``mostEntries`` meters of each kind, whatever is tried from wherever.
final class LoginLimits: Sendable {
  static let mostEntries = 20_000

  /// Failures that are taken at once, and how many more with each minute.
  struct Limit: Sendable {
    var burst: Int
    var perMinute: Int
  }

  /// For an office behind one address with some who mistype.
  static let ofAddress = Limit(burst: 50, perMinute: 10)
  static let ofAccountHere = Limit(burst: 10, perMinute: 6)
  static let ofAccount = Limit(burst: 50, perMinute: 6)

  private struct AccountHere: Hashable {
    var account: String
    var site: String
  }

  private struct State {
    var addresses = LoginLimits.meter(of: String.self, LoginLimits.ofAddress)
    var accountsHere = LoginLimits.meter(of: AccountHere.self, LoginLimits.ofAccountHere)
    var accounts = LoginLimits.meter(of: String.self, LoginLimits.ofAccount)
  }

  private let state = Lock(State())
  private let environment: Environment

  init(environment: Environment) { self.environment = environment }

  private static func meter<Key>(of _: Key.Type, _ limit: Limit) -> RateMeter<Key> {
    RateMeter(RateLimit(perSecond: limit.perMinute, burst: limit.burst), capacity: mostEntries)
  }

  /// The meters count per minute: their second is our minute.
  private var now: Double { environment.uptime() / 60 }

  /// Refuses an address from which too many logins have failed.
  func admit(from address: String) throws {
    let verdict = state.withLock { $0.addresses.look(RateLimiter.site(address), at: now) }
    if !verdict.isAllowed {
      throw refusal(verdict.wait, Self.ofAddress, "too many logins from \(address) have failed")
    }
  }

  /// Refuses to try one more password for an account.
  ///
  /// - Parameters:
  ///   - account: what it is counted by.
  ///   - name: what the caller knows it by.
  ///   - isKnownSite: its owner has logged in from there lately.
  func admit(account: String, called name: String, from address: String, isKnownSite: Bool) throws {
    let here = AccountHere(account: account, site: RateLimiter.site(address))
    let (near, far) = state.withLock { state in
      (state.accountsHere.look(here, at: now), state.accounts.look(account, at: now))
    }
    // One text for both, and for accounts that do not exist: it must not say which there are.
    let text = "too many logins as \(name) have failed"
    if !near.isAllowed { throw refusal(near.wait, Self.ofAccountHere, text) }
    if !isKnownSite, !far.isAllowed { throw refusal(far.wait, Self.ofAccount, text) }
  }

  /// Counts a failed login; without an account one that named none.
  func failed(account: String?, from address: String, isKnownSite: Bool = false) {
    let site = RateLimiter.site(address)
    state.withLock { state in
      _ = state.addresses.take(site, at: now)
      guard let account else { return }
      _ = state.accountsHere.take(AccountHere(account: account, site: site), at: now)
      if !isKnownSite { _ = state.accounts.take(account, at: now) }
    }
  }

  /// Counts a login that did not fail, so that logins alone cannot keep the hashing threads busy.
  func succeeded(account: String, from address: String) {
    let here = AccountHere(account: account, site: RateLimiter.site(address))
    _ = state.withLock { $0.accountsHere.take(here, at: now) }
  }

  /// How many meters there are now.
  var entries: Int {
    state.withLock { $0.addresses.count + $0.accountsHere.count + $0.accounts.count }
  }

  private func refusal(_ wait: Double, _ limit: Limit, _ text: String) -> RateLimited {
    RateLimited(wait: wait * 60, detail: text, limit: limit.burst)
  }
}
