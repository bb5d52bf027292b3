import AloftModel

/// What an operation asks of its caller: the closed list of `x-aloft-permission` in the contract.
///
/// Rules:
/// - A permission belongs to one scope, and the scope says where it has to be held.
/// - Roles hold permissions by these functions and nothing else; docs/PERMISSIONS.md shows what comes of it, operation by
///   operation, and a test computes that page anew.
enum Permission: String, Sendable, CaseIterable {
  case projectList = "project.list"
  case projectCreate = "project.create"
  case projectRead = "project.read"
  case projectWrite = "project.write"
  case projectDelete = "project.delete"
  case memberRead = "member.read"
  case memberWrite = "member.write"
  case vmRead = "vm.read"
  case vmWrite = "vm.write"
  case imageRead = "image.read"
  case imageWrite = "image.write"
  case imagePublish = "image.publish"
  case volumeRead = "volume.read"
  case volumeWrite = "volume.write"
  case storagePoolRead = "storage_pool.read"
  case storagePoolWrite = "storage_pool.write"
  case networkRead = "network.read"
  case networkWrite = "network.write"
  case externalNetworkRead = "external_network.read"
  case externalNetworkWrite = "external_network.write"
  case webhookRead = "webhook.read"
  case webhookWrite = "webhook.write"
  case operationGet = "operation.get"
  case operationRead = "operation.read"
  case eventRead = "event.read"
  case placementRead = "placement.read"
  case projectAuditRead = "project_audit.read"
  case auditRead = "audit.read"
  case nodeRead = "node.read"
  case nodeWrite = "node.write"
  case metricsRead = "metrics.read"
  case selfRead = "self.read"
  case selfWrite = "self.write"
  case sessionRead = "session.read"
  case sessionWrite = "session.write"
  case tokenRead = "token.read"
  case tokenWrite = "token.write"
  case userRead = "user.read"
  case userWrite = "user.write"
  case quotaRead = "quota.read"
  case quotaWrite = "quota.write"

  enum Scope {
    /// Whoever is known has it; what the handler gives depends on who that is.
    case caller
    /// It is held in the project that the call names.
    case project
    /// It is held in the whole cloud.
    case cloud
  }

  var scope: Scope {
    switch self {
    case .projectList, .operationGet, .selfRead, .selfWrite, .sessionRead, .sessionWrite, .tokenRead, .tokenWrite,
      .externalNetworkRead, .storagePoolRead:
      .caller
    case .projectRead, .projectWrite, .memberRead, .memberWrite: .project
    case .projectCreate, .projectDelete, .imagePublish: .cloud
    case .vmRead, .vmWrite, .imageRead, .imageWrite, .operationRead, .eventRead, .placementRead: .project
    case .networkRead, .networkWrite, .volumeRead, .volumeWrite: .project
    case .webhookRead, .webhookWrite, .projectAuditRead: .project
    case .nodeRead, .nodeWrite, .metricsRead, .userRead, .userWrite, .auditRead: .cloud
    case .quotaRead, .quotaWrite, .externalNetworkWrite, .storagePoolWrite: .cloud
    }
  }

  /// Whether it changes nothing but what is the caller's own.
  var isRead: Bool { scope == .caller || rawValue.hasSuffix(".read") }
}

extension ProjectRole: Comparable {
  private var rank: Int {
    switch self {
    case .viewer: 0
    case .member: 1
    case .admin: 2
    }
  }

  public static func < (a: ProjectRole, b: ProjectRole) -> Bool { a.rank < b.rank }

  /// Whether the role holds a permission, in its project.
  func holds(_ permission: Permission) -> Bool {
    guard permission.scope == .project else { return false }
    return switch permission {
    case .vmWrite, .imageWrite, .volumeWrite, .networkWrite: self >= .member
    case .projectWrite, .memberWrite, .webhookWrite, .projectAuditRead: self == .admin
    default: permission.isRead
    }
  }
}

extension CloudRole {
  /// Whether the role holds a permission, wherever that is asked for.
  func holds(_ permission: Permission) -> Bool {
    switch self {
    case .auditor: permission.isRead
    // Who may make users or change their roles could make itself an admin.
    case .operator: permission.isRead || (permission.scope == .cloud && permission != .userWrite)
    case .admin: true
    }
  }

  /// What somebody with this role counts as in a project where they are no member.
  var inEveryProject: ProjectRole { self == .admin ? .admin : .viewer }
}
