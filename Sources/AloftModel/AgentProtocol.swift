import Foundation

// The protocol between the control plane and its node agents, `/agent/v1`. Server and agent of neighbouring versions
// work together: fields that one side does not know are ignored here, and only here.

/// `POST /agent/v1/join`: the one call without a client certificate.
public struct JoinRequest: Sendable, Codable {
  public var token: String
  public var name: String
  /// A PKCS #10 request in PEM; its key never leaves the node.
  public var certificateRequest: String
  public var report: NodeReport

  public init(token: String, name: String, certificateRequest: String, report: NodeReport) {
    self.token = token
    self.name = name
    self.certificateRequest = certificateRequest
    self.report = report
  }
}

/// The node's new identity.
public struct JoinAnswer: Sendable, Codable {
  public var nodeId: NodeID
  /// The client certificate and what it chains to, in PEM.
  public var certificate: String
  /// Whom to trust from now on. Nil from control planes that do not tell.
  public var trust: TrustAnchors?

  public init(nodeId: NodeID, certificate: String, trust: TrustAnchors? = nil) {
    self.nodeId = nodeId
    self.certificate = certificate
    self.trust = trust
  }
}

/// The control plane's own authorities: what it tells agents to trust, beside the file that their operator gave them.
public struct TrustAnchors: Sendable, Codable, Equatable {
  /// Certificates in PEM, one after another.
  public var authorities: String
  /// Fingerprints of authorities that are not to be trusted any more, whatever file holds them: SHA-256 of the certificate in
  /// DER, in lower-case hexadecimal.
  public var retired: [String]

  public init(authorities: String, retired: [String]) {
    self.authorities = authorities
    self.retired = retired
  }
}

/// `POST /agent/v1/renew`: a new certificate for the same node.
public struct RenewRequest: Sendable, Codable {
  public var certificateRequest: String

  public init(certificateRequest: String) { self.certificateRequest = certificateRequest }
}

/// `PUT /agent/v1/node`: what the agent found out about its host. Renews the node's lease.
public struct NodeReport: Sendable, Codable, Equatable {
  public var architecture: String
  public var accelerator: Accelerator
  public var vcpus: Int
  public var memoryMib: Int
  public var diskGib: Int
  /// Versions, CPU model and the like; shown to operators.
  public var facts: [String: String]
  /// Fingerprints of the control plane's authorities that the agent trusts, in order; see ``TrustAnchors``. Nil from agents
  /// that do not tell.
  public var trust: [String]?
  /// Nil from agents that know nothing of networks.
  public var networking: NodeNetworking?
  /// The storage pools that the node reaches.
  public var pools: [NodeStoragePool]?
  /// What is on the node though nothing that the control plane told of needs it, in words. It is left alone. Nil while the
  /// agent has not looked.
  public var orphans: [String]?

  public init(
    architecture: String, accelerator: Accelerator, vcpus: Int, memoryMib: Int, diskGib: Int, facts: [String: String],
    trust: [String]? = nil, networking: NodeNetworking? = nil, pools: [NodeStoragePool]? = nil,
    orphans: [String]? = nil
  ) {
    self.orphans = orphans
    self.pools = pools
    self.networking = networking
    self.trust = trust
    self.architecture = architecture
    self.accelerator = accelerator
    self.vcpus = vcpus
    self.memoryMib = memoryMib
    self.diskGib = diskGib
    self.facts = facts
  }
}

/// The answer to every report: for how long the node counts as alive.
public struct LeaseAnswer: Sendable, Codable {
  public var leaseSeconds: Int
  /// VMs that were reported and that the control plane does not know on this node. They are left alone.
  public var unknownVms: [VMID]
  /// Whom to trust from now on, if the agent told that it trusts others.
  public var trust: TrustAnchors?
  /// The certificate's authority is being replaced: the agent asks for a new one now, whenever its own ends.
  public var renew: Bool?
  /// Nil where the cloud has no networks.
  public var fabric: NetworkFabric?

  public init(
    leaseSeconds: Int, unknownVms: [VMID] = [], trust: TrustAnchors? = nil, renew: Bool? = nil,
    fabric: NetworkFabric? = nil
  ) {
    self.fabric = fabric
    self.trust = trust
    self.renew = renew
    self.leaseSeconds = leaseSeconds
    self.unknownVms = unknownVms
  }
}

/// The answer to `GET /agent/v1/assignments?after=N&wait=S`: the documents of this node that changed behind `after`, in the
/// order of their changes, as many as one answer may hold.
public struct Assignments: Sendable, Codable {
  /// Ask `after` this the next time.
  public var revision: Int
  /// Of VMs.
  public var documents: [Assignment]
  /// The documents of volumes. Nil is none.
  public var volumes: [VolumeAssignment]?
  /// Bytes that somebody waits for; see ``StreamRequest``.
  public var streams: [StreamRequest]
  /// In a whole list: the highest ``Observation/sequence`` that is known of this node's VMs and volumes. A new agent counts
  /// from above it, whatever its host's clock says. Nil from control planes that do not tell.
  public var sequence: Int?
  /// False when there are more documents behind ``revision``: a list is whole with the part that is complete. Nil, from
  /// control planes that send everything at once, is true.
  public var complete: Bool?

  public init(
    revision: Int, documents: [Assignment], volumes: [VolumeAssignment]? = nil, streams: [StreamRequest] = [],
    sequence: Int? = nil, complete: Bool? = nil
  ) {
    self.revision = revision
    self.documents = documents
    self.volumes = volumes
    self.streams = streams
    self.sequence = sequence
    self.complete = complete
  }
}

/// The whole desired state of one VM on this node. `deleted` makes it a tombstone.
public struct Assignment: Sendable, Codable, Equatable {
  /// What makes sense once only.
  public struct Request: Sendable, Codable, Equatable {
    /// Asks the guest to reboot, or resets it.
    public enum Kind: String, Sendable, Codable { case reboot, reset }

    public var id: VMRequestID
    public var kind: Kind

    public init(id: VMRequestID, kind: Kind) {
      self.id = id
      self.kind = kind
    }
  }

  /// What a volume is cloned from.
  public struct BaseImage: Sendable, Codable, Equatable {
    public var id: ImageID
    public var sha256: String
    public var format: ImageFormat
    public var sizeBytes: Int

    public init(id: ImageID, sha256: String, format: ImageFormat, sizeBytes: Int) {
      self.id = id
      self.sha256 = sha256
      self.format = format
      self.sizeBytes = sizeBytes
    }
  }

  public var vm: VMID
  public var incarnation: Int
  public var generation: Int
  public var deleted: Bool
  public var power: Power
  /// How long an ACPI shutdown may take before the power is cut.
  public var stopGraceSeconds: Int
  public var name: String
  public var hostname: String
  public var vcpus: Int
  public var memoryMib: Int
  public var accelerator: AcceleratorChoice
  public var sshKeys: [String]
  public var userData: String
  /// Its volumes, the boot volume among them, in the order in which the guest sees them. Each has a document of its own.
  public var disks: [Disk]
  public var requests: [Request]
  /// In the order in which the guest sees them. Nil, from control planes without networks, is none.
  public var nics: [NIC]?
  /// What the NICs are connected to.
  public var networks: [Network]?
  /// What the guest goes on from at its next start, once. Nil: it boots.
  public var memory: Memory?

  public init(
    vm: VMID, incarnation: Int, generation: Int, deleted: Bool, power: Power, stopGraceSeconds: Int, name: String,
    hostname: String, vcpus: Int, memoryMib: Int, accelerator: AcceleratorChoice, sshKeys: [String], userData: String,
    disks: [Disk], requests: [Request], nics: [NIC]? = nil, networks: [Network]? = nil, memory: Memory? = nil
  ) {
    self.memory = memory
    self.vm = vm
    self.incarnation = incarnation
    self.generation = generation
    self.deleted = deleted
    self.power = power
    self.stopGraceSeconds = stopGraceSeconds
    self.name = name
    self.hostname = hostname
    self.vcpus = vcpus
    self.memoryMib = memoryMib
    self.accelerator = accelerator
    self.sshKeys = sshKeys
    self.userData = userData
    self.disks = disks
    self.requests = requests
    self.nics = nics
    self.networks = networks
  }
}

/// Bytes that a client waits for on one replica: the agent sends them as the body of `POST {url}/agent/v1/streams/{id}`,
/// whose answer comes when the client has them all or has left.
public struct StreamRequest: Sendable, Codable, Equatable {
  public enum Kind: String, Sendable, Codable { case serialLog = "serial_log" }

  public var id: StreamID
  public var url: String
  public var kind: Kind
  public var vm: VMID
  /// The first byte wanted; negative counts from the end.
  public var offset: Int
  public var follow: Bool

  public init(id: StreamID, url: String, kind: Kind, vm: VMID, offset: Int, follow: Bool) {
    self.id = id
    self.url = url
    self.kind = kind
    self.vm = vm
    self.offset = offset
    self.follow = follow
  }
}

/// `POST /agent/v1/observations`: what the agent sees. Renews the node's lease.
public struct ObservationReport: Sendable, Codable {
  /// Of VMs.
  public var observations: [Observation]
  /// Of volumes. Nil is none.
  public var volumes: [VolumeObservation]?

  public init(observations: [Observation], volumes: [VolumeObservation]? = nil) {
    self.observations = observations
    self.volumes = volumes
  }
}

/// One VM as its agent sees it.
public struct Observation: Sendable, Codable, Equatable {
  /// The domain's power, as libvirt tells it.
  public enum Power: String, Sendable, Codable, CaseIterable { case absent, stopped, running, paused, crashed }

  /// What keeps the agent from bringing the VM to its desired state; it goes on trying.
  public struct Problem: Sendable, Codable, Equatable {
    public var code: OperationFailure
    public var detail: String

    public init(code: OperationFailure, detail: String) {
      self.code = code
      self.detail = detail
    }

    /// A kind of problem that only newer agents know is one that the hypervisor's host had; its words tell.
    public init(from decoder: any Decoder) throws {
      let container = try decoder.container(keyedBy: CodingKeys.self)
      let code = try container.decode(String.self, forKey: .code)
      self.code = OperationFailure(rawValue: code) ?? .hypervisorRefused
      detail = try container.decode(String.self, forKey: .detail)
    }
  }

  public var vm: VMID
  public var incarnation: Int
  /// The generation of the document that the agent worked to.
  public var generation: Int
  /// Counts the agent's reports, also over its restarts; a late copy of an older one is dropped.
  public var sequence: Int
  public var power: Power
  /// The guest turned itself off: nobody asked for it.
  public var guestStopped: Bool
  /// What the agent does now, in words: "downloading image".
  public var activity: String?
  /// Per cent of the activity.
  public var progress: Int?
  public var problem: Problem?
  /// One-time requests that were carried out.
  public var completedRequests: [VMRequestID]
  /// The NICs that the guest has now, those that it was asked to let go of too; none while it is off. Nil from agents that know
  /// nothing of networks.
  public var nics: [NICID]?
  /// The volumes that the guest has plugged in now, those that it was asked to let go of too; none while it is off.
  public var disks: [VolumeID]
  /// Those of ``disks`` whose I/O limits are not those of the document. Nil is none.
  public var staleDisks: [VolumeID]?
  /// The request by which the guest went on from memory last; see ``Assignment/Memory``.
  public var resumed: VMRequestID?

  public init(
    vm: VMID, incarnation: Int, generation: Int, sequence: Int, power: Power, guestStopped: Bool = false,
    activity: String? = nil, progress: Int? = nil, problem: Problem? = nil, completedRequests: [VMRequestID] = [],
    nics: [NICID]? = nil, disks: [VolumeID] = [], staleDisks: [VolumeID]? = nil, resumed: VMRequestID? = nil
  ) {
    self.resumed = resumed
    self.nics = nics
    self.disks = disks
    self.staleDisks = staleDisks
    self.vm = vm
    self.incarnation = incarnation
    self.generation = generation
    self.sequence = sequence
    self.power = power
    self.guestStopped = guestStopped
    self.activity = activity
    self.progress = progress
    self.problem = problem
    self.completedRequests = completedRequests
  }
}
