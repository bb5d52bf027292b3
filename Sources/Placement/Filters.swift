import FoundationEssentials

/// Only nodes that take new VMs.
struct StateFilter: Filter {
  let constraint = Constraint.state
  let requirement = "the node takes new virtual machines"

  func narrow(_ candidates: inout SlotSet, in inventory: Inventory) { candidates.formIntersection(inventory.ready) }
  func reason(_ node: InventoryNode) -> String { "the node is \(node.state.rawValue)" }
}

/// Only the one node that was asked for.
struct NodeFilter: Filter {
  let node: UUID
  let constraint = Constraint.node
  let requirement = "the one node that was asked for"

  func narrow(_ candidates: inout SlotSet, in inventory: Inventory) {
    candidates.formIntersection(inventory.slotSet([node]))
  }
  func reason(_ node: InventoryNode) -> String { "another node was asked for" }
}

/// Not the nodes that the caller ruled out.
struct ExcludedFilter: Filter {
  let nodes: Set<UUID>
  let constraint = Constraint.excluded
  let requirement = "not one of the nodes ruled out"

  func narrow(_ candidates: inout SlotSet, in inventory: Inventory) { candidates.subtract(inventory.slotSet(nodes)) }
  func reason(_ node: InventoryNode) -> String { "the node was ruled out by the caller" }
}

/// Only nodes that have room in a storage pool.
struct StoragePoolFilter: Filter {
  let nodes: Set<UUID>
  let constraint = Constraint.storagePool
  let requirement = "room in the storage pool of its boot disk"

  func narrow(_ candidates: inout SlotSet, in inventory: Inventory) {
    candidates.formIntersection(inventory.slotSet(nodes))
  }
  func reason(_ node: InventoryNode) -> String { "the node does not have the storage pool, or no room in it" }
}

/// Only nodes of one zone.
struct ZoneFilter: Filter {
  let zone: String
  let constraint = Constraint.zone
  var requirement: String { "zone \(zone)" }

  func narrow(_ candidates: inout SlotSet, in inventory: Inventory) {
    candidates.formIntersection(inventory.zones[zone] ?? SlotSet())
  }
  func reason(_ node: InventoryNode) -> String {
    "the node is in \(node.zone.map { "zone \($0)" } ?? "no zone"), zone \(zone) was asked for"
  }
}

/// Only nodes of one pool.
struct PoolFilter: Filter {
  let pool: UUID
  let constraint = Constraint.pool
  let requirement = "the node pool that was asked for"

  func narrow(_ candidates: inout SlotSet, in inventory: Inventory) {
    candidates.formIntersection(inventory.pools[pool] ?? SlotSet())
  }
  func reason(_ node: InventoryNode) -> String { "the node is in another pool" }
}

/// Only nodes whose CPUs speak the guest's instruction set.
struct ArchitectureFilter: Filter {
  let architecture: String
  let constraint = Constraint.architecture
  var requirement: String { "architecture \(architecture)" }

  func narrow(_ candidates: inout SlotSet, in inventory: Inventory) {
    candidates.formIntersection(inventory.architectures[architecture] ?? SlotSet())
  }
  func reason(_ node: InventoryNode) -> String { "the node is \(node.architecture), \(architecture) was asked for" }
}

/// Only nodes that virtualize with KVM, or only nodes that emulate.
struct AcceleratorFilter: Filter {
  let accelerator: InventoryNode.Accelerator
  let constraint = Constraint.accelerator
  var requirement: String { "accelerator \(accelerator.rawValue)" }

  func narrow(_ candidates: inout SlotSet, in inventory: Inventory) {
    switch accelerator {
    case .kvm: candidates.formIntersection(inventory.kvm)
    case .tcg: candidates.subtract(inventory.kvm)
    }
  }
  func reason(_ node: InventoryNode) -> String {
    "the node has \(node.accelerator.rawValue), \(accelerator.rawValue) was asked for"
  }
}

/// Only nodes with one CPU model.
struct CPUModelFilter: Filter {
  let model: String
  let constraint = Constraint.cpuModel
  var requirement: String { "CPU model \(model)" }

  func narrow(_ candidates: inout SlotSet, in inventory: Inventory) {
    candidates.formIntersection(inventory.cpuModels[model] ?? SlotSet())
  }
  func reason(_ node: InventoryNode) -> String {
    "the node's CPU model is \(node.cpuModel ?? "unknown"), \(model) was asked for"
  }
}

/// Only nodes that can connect VMs to networks.
struct NetworksFilter: Filter {
  let constraint = Constraint.networks
  let requirement = "the node can connect virtual machines to networks"

  func narrow(_ candidates: inout SlotSet, in inventory: Inventory) { candidates.formIntersection(inventory.networked) }
  func reason(_ node: InventoryNode) -> String { "the node cannot connect virtual machines to networks; it says why" }
}

/// Only nodes that have or reach the VM's volumes.
struct VolumesFilter: Filter {
  let pinned: Set<UUID>
  let pools: Set<UUID>
  let constraint = Constraint.volumes

  var requirement: String {
    let own = pinned.isEmpty ? nil : "the one node that has its volumes in pools that nodes do not share"
    let shared = pools.isEmpty ? nil : "the node reaches the shared pools of its volumes"
    return [own, shared].compactMap { $0 }.joined(separator: "; ")
  }

  func narrow(_ candidates: inout SlotSet, in inventory: Inventory) {
    for node in pinned { candidates.formIntersection(inventory.slotSet([node])) }
    for pool in pools { candidates.formIntersection(inventory.storagePools[pool] ?? SlotSet()) }
  }
  func reason(_ node: InventoryNode) -> String {
    pinned.isSubset(of: [node.id])
      ? "the node does not reach a shared pool in which it has volumes"
      : "it has volumes on another node, in a pool that nodes do not share"
  }
}

/// Only nodes with one label.
struct LabelFilter: Filter {
  let key: String
  let value: String
  var constraint: Constraint { .label(key: key, value: value) }
  var requirement: String { "label \(key)=\(value)" }

  func narrow(_ candidates: inout SlotSet, in inventory: Inventory) {
    candidates.formIntersection(SlotSet(inventory.labels[Inventory.Label(key: key, value: value)]))
  }
  func reason(_ node: InventoryNode) -> String {
    let found = node.labels[key].map { "\(key)=\($0)" } ?? "no label \(key)"
    return "the node has \(found), \(key)=\(value) was asked for"
  }
}

/// Only nodes where the VMs are that this one must be with.
struct AffinityFilter: Filter {
  let nodes: Set<UUID>
  let constraint = Constraint.affinity
  let requirement = "together with the virtual machines it must be with"

  func narrow(_ candidates: inout SlotSet, in inventory: Inventory) {
    candidates.formIntersection(inventory.slotSet(nodes))
  }
  func reason(_ node: InventoryNode) -> String { "the virtual machines it must be with are elsewhere" }
}

/// Not the nodes where the VMs are that this one must be apart from.
struct AntiAffinityFilter: Filter {
  let nodes: Set<UUID>
  let constraint = Constraint.antiAffinity
  let requirement = "apart from the virtual machines it must not be with"

  func narrow(_ candidates: inout SlotSet, in inventory: Inventory) { candidates.subtract(inventory.slotSet(nodes)) }
  func reason(_ node: InventoryNode) -> String { "a virtual machine it must be apart from is here" }
}

/// Only nodes with enough free vCPUs, memory or disk.
struct ResourceFilter: Filter {
  let resource: Resource
  let need: Int
  var constraint: Constraint { .resource(resource) }
  var requirement: String { "\(need) \(resource.unit) free" }

  func narrow(_ candidates: inout SlotSet, in inventory: Inventory) {
    candidates.keep(whereAtLeast: need, in: inventory.freeColumn(resource))
  }
  func reason(_ node: InventoryNode) -> String {
    "\(max(0, node.free[resource])) of \(node.limit[resource]) \(resource.unit) free, \(need) needed"
  }
}

extension Inventory {
  func slotSet(_ ids: Set<UUID>) -> SlotSet {
    var set = SlotSet()
    for id in ids { if let slot = slots[id] { set.insert(slot) } }
    return set
  }
}

extension PlacementRequest {
  /// The filters this request needs, in the fixed order. What is cheap and leaves few nodes comes first; capacity, which
  /// looks at every node that is left, comes last.
  var filters: [any Filter] {
    var filters: [any Filter] = [StateFilter()]
    if let node { filters.append(NodeFilter(node: node)) }
    if !excluded.isEmpty { filters.append(ExcludedFilter(nodes: excluded)) }
    if let storage { filters.append(StoragePoolFilter(nodes: storage)) }
    if let zone { filters.append(ZoneFilter(zone: zone)) }
    if let pool { filters.append(PoolFilter(pool: pool)) }
    if let architecture { filters.append(ArchitectureFilter(architecture: architecture)) }
    switch accelerator {
    case .any: break
    case .kvm: filters.append(AcceleratorFilter(accelerator: .kvm))
    case .tcg: filters.append(AcceleratorFilter(accelerator: .tcg))
    }
    if let cpuModel { filters.append(CPUModelFilter(model: cpuModel)) }
    if !pinned.isEmpty || !storagePools.isEmpty {
      filters.append(VolumesFilter(pinned: pinned, pools: storagePools))
    }
    if needsNetworks { filters.append(NetworksFilter()) }
    for (key, value) in nodeSelector.sorted(by: { $0.key < $1.key }) {
      filters.append(LabelFilter(key: key, value: value))
    }
    if !affinity.isEmpty { filters.append(AffinityFilter(nodes: affinity)) }
    if !antiAffinity.isEmpty { filters.append(AntiAffinityFilter(nodes: antiAffinity)) }
    for resource in Resource.allCases {
      filters.append(ResourceFilter(resource: resource, need: Swift.max(0, need[resource])))
    }
    return filters
  }
}
