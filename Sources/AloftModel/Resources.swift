import Foundation

/// A virtual machine as the API shows it.
public struct VM: Sendable, Codable {
  public var id: VMID
  public var name: String
  public var projectId: ProjectID
  public var state: VMState
  public var reason: String?
  public var desiredPower: Power
  public var vcpus: Int
  public var memoryMib: Int
  public var diskGib: Int
  public var imageId: ImageID
  public var hostname: String
  public var labels: [String: String]
  public var node: String?
  public var incarnation: Int
  public var generation: Int
  public var accelerator: Accelerator?
  public var operation: Operation?
  public var createdAt: Date
  public var updatedAt: Date
}

/// An image as the API shows it.
public struct Image: Sendable, Codable {
  /// Whether a VM can be made from it.
  public enum State: String, Sendable, Codable {
    case awaitingUpload = "awaiting_upload"
    case ready
  }

  public var id: ImageID
  public var name: String
  public var projectId: ProjectID
  public var state: State
  public var format: ImageFormat?
  public var sizeBytes: Int?
  public var virtualSizeBytes: Int?
  public var sha256: String?
  public var architecture: String
  public var labels: [String: String]
  public var createdAt: Date
  public var updatedAt: Date
}

/// The public record of one accepted change.
public struct Operation: Sendable, Codable {
  /// Why an operation failed.
  public struct Failure: Sendable, Codable {
    public var code: OperationFailure
    public var detail: String
  }

  public var id: OperationID
  public var kind: OperationKind
  public var status: OperationStatus
  public var projectId: ProjectID?
  public var resourceId: String
  public var waitingFor: String?
  public var progress: Int?
  public var error: Failure?
  public var createdAt: Date
  public var finishedAt: Date?
  public var deadline: Date
}

/// A hypervisor host as the API shows it.
public struct Node: Sendable, Codable {
  /// Whether it takes new VMs.
  public enum State: String, Sendable, Codable { case ready, cordoned, down }

  public var id: NodeID
  public var name: String
  public var state: State
  public var schedulable: Bool
  public var pool: String
  public var labels: [String: String]
  public var architecture: String
  public var accelerator: Accelerator
  public var capacity: Amounts
  public var claimed: Amounts
  public var facts: [String: String]
  public var lastSeenAt: Date?
  public var createdAt: Date
  public var updatedAt: Date
}

/// Amounts of the three things that a VM claims.
public struct Amounts: Sendable, Codable, Equatable {
  public var vcpus: Int
  public var memoryMib: Int
  public var diskGib: Int

  public init(vcpus: Int, memoryMib: Int, diskGib: Int) {
    self.vcpus = vcpus
    self.memoryMib = memoryMib
    self.diskGib = diskGib
  }
}

/// Nodes that share a policy.
public struct NodePool: Sendable, Codable {
  public var id: NodePoolID
  public var name: String
  public var strategy: String
  public var cpuOvercommit: Double
  public var memoryOvercommit: Double
  public var diskOvercommit: Double
  public var createdAt: Date
  public var updatedAt: Date
}

/// A join token; `secret` is there only in the answer that made it.
public struct NodeToken: Sendable, Codable {
  public var id: NodeTokenID
  public var description: String
  public var pool: String
  public var labels: [String: String]
  public var expiresAt: Date
  public var nodeId: NodeID?
  public var createdAt: Date
  public var secret: String?
}

/// A tenant as the API shows it.
public struct Project: Sendable, Codable {
  public var id: ProjectID
  public var name: String
  public var createdAt: Date
}

/// A page of a list.
public struct Page<Item: Sendable & Codable>: Sendable, Codable {
  public var items: [Item]
  public var nextCursor: String?
}

/// Something that happened.
public struct Event: Sendable, Codable {
  /// Where to go on reading.
  public var cursor: String
  public var at: Date
  public var kind: String
  public var projectId: ProjectID?
  public var resourceId: String
  public var data: [String: String]
}
