/// What there is a limit for in a project: a closed list. The database's triggers know quotas by these names.
public enum Quota: String, Sendable, Codable, CaseIterable {
  case vms
  case vcpus
  case memoryMiB = "memory_mib"
  case diskGiB = "disk_gib"
  case volumes
  case snapshots
  case backups
  case backupBytes = "backup_bytes"
  case images
  case imageBytes = "image_bytes"
  case tokens
  case webhooks
  case networks
  case subnets
  case securityGroups = "security_groups"
  case routers
  case floatingIPs = "floating_ips"
  case loadBalancers = "load_balancers"
}

/// Why a quota refuses.
public struct QuotaRefusal: Sendable, Codable, Equatable {
  public var quota: Quota
  public var limit: Int
  public var used: Int
  /// How much more was asked for.
  public var asked: Int

  public init(quota: Quota, limit: Int, used: Int, asked: Int) {
    self.quota = quota
    self.limit = limit
    self.used = used
    self.asked = asked
  }
}
