import AloftModel

/// Why the agent could not do something. Nothing is given up for it: each is tried again.
public struct AgentFailure: Error, Sendable, Hashable, CustomStringConvertible {
  /// A closed set, by which the agent decides what to tell and when to try again.
  public enum Kind: Sendable, Hashable, CaseIterable {
    /// libvirt cannot be reached.
    case hypervisorUnavailable
    /// libvirt refused, or a program of the host failed.
    case hypervisorRefused
    /// The domain is not in the state that the call needs: look again.
    case changedMeanwhile
    /// The data directory's file system is full, or its reserve is reached.
    case diskFull
    /// An image does not have the content its document promises.
    case imageCorrupt
    /// An image cannot be fetched now.
    case imageUnavailable
    /// Something of a volume is missing or cannot be read.
    case volumeDamaged
    /// Something of a backup is missing or is not what it was.
    case backupDamaged
    /// An encrypted volume cannot be used: its key is missing, or would come to the node's disk.
    case volumeLocked
    /// What a guest's memory held at the instant of a snapshot cannot be kept any more.
    case memoryUnsaved
    /// The machine is not the one whose memory is to be loaded.
    case memoryMismatch
    /// Memory cannot be loaded.
    case memoryUnusable
    /// A guest has the volume open: look again.
    case volumeInUse
    /// Another failure of the local file system.
    case storage
    /// This hypervisor has no such function.
    case unsupported
    /// The control plane cannot be reached or could not answer.
    case controlPlaneUnavailable
    /// The control plane refused the request; its answer says why.
    case controlPlaneRefused
  }

  public var kind: Kind
  /// What was wrong, where, and what would work.
  public var detail: String

  public init(_ kind: Kind, _ detail: String) {
    self.kind = kind
    self.detail = detail
  }

  public var description: String { detail }

  /// What the control plane is told. Nil for what is expected to pass by itself.
  var problem: Observation.Problem? {
    let code: OperationFailure
    switch kind {
    case .hypervisorUnavailable, .changedMeanwhile, .volumeInUse, .imageUnavailable, .controlPlaneUnavailable,
      .controlPlaneRefused:
      return nil
    case .hypervisorRefused, .storage, .unsupported: code = .hypervisorRefused
    case .diskFull: code = .nodeDiskFull
    case .imageCorrupt: code = .imageCorrupt
    case .volumeDamaged: code = .volumeDamaged
    case .backupDamaged: code = .backupDamaged
    case .volumeLocked: code = .volumeLocked
    case .memoryUnsaved: code = .memoryUnsaved
    case .memoryMismatch: code = .memoryMismatch
    case .memoryUnusable: code = .memoryUnusable
    }
    return Observation.Problem(code: code, detail: detail)
  }
}
