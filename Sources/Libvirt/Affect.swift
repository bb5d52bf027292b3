import CLibvirt

/// Which of a domain's two configurations a change is for; `virDomainModificationImpact`.
public enum Affect: Sendable, Hashable {
  /// The running guest only: gone at its next start.
  case live
  /// The stored definition only: felt at the next start.
  case stored
  /// The running guest if there is one, and the stored definition if the domain has one.
  case everywhere

  /// The flags for a domain. `everywhere` must look first: libvirt refuses a part that does not exist.
  func flags(for domain: virDomainPtr) throws(LibvirtError) -> UInt32 {
    switch self {
    case .live: return VIR_DOMAIN_AFFECT_LIVE.rawValue
    case .stored: return VIR_DOMAIN_AFFECT_CONFIG.rawValue
    case .everywhere:
      let live = try LibvirtError.check(virDomainIsActive(domain)) == 1
      let stored = try LibvirtError.check(virDomainIsPersistent(domain)) == 1
      return (live ? VIR_DOMAIN_AFFECT_LIVE.rawValue : 0) | (stored ? VIR_DOMAIN_AFFECT_CONFIG.rawValue : 0)
    }
  }
}
