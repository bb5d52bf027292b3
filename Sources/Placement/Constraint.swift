/// What can rule a node out. The order of the cases is the order in which nodes are judged.
public enum Constraint: Sendable, Hashable {
  case state
  case node
  case excluded
  case storagePool
  case zone
  case pool
  case architecture
  case accelerator
  case cpuModel
  case networks
  case volumes
  case label(key: String, value: String)
  case affinity
  case antiAffinity
  case resource(Resource)

  /// The constraint's closed code, as APIs show it.
  public var code: String {
    switch self {
    case .state: "state"
    case .node: "node"
    case .excluded: "excluded"
    case .storagePool: "storage_pool"
    case .zone: "zone"
    case .pool: "pool"
    case .architecture: "architecture"
    case .accelerator: "accelerator"
    case .cpuModel: "cpu_model"
    case .networks: "networks"
    case .volumes: "volumes"
    case .label: "label"
    case .affinity: "affinity"
    case .antiAffinity: "anti_affinity"
    case .resource(let resource): resource.rawValue
    }
  }
}

/// One reason to rule nodes out, made from a request.
protocol Filter: Sendable {
  var constraint: Constraint { get }
  /// What is asked for, for humans; names no node.
  var requirement: String { get }
  /// Takes the nodes out that do not qualify.
  func narrow(_ candidates: inout SlotSet, in inventory: Inventory)
  /// Why this node was taken out, for operators.
  func reason(_ node: InventoryNode) -> String
}
