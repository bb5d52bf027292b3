import AloftModel
import OVSDB

/// A model together with the rows that it wants, kept up to date change by change.
struct NorthboundState: Sendable {
  private(set) var model = NetworkModel()
  private(set) var desired = DesiredRows()
  private var contributions: [NetworkModel.ObjectID: Contribution] = [:]
  /// Whose contributions depend on an object.
  private var dependents: [NetworkModel.ObjectID: Set<NetworkModel.ObjectID>] = [:]
  private var attachedRouters: [NetworkID: Set<RouterID>] = [:]

  init() {}

  init(_ model: NetworkModel) {
    apply(model.ids.compactMap { id in model[id].map(NetworkModel.Change.put) })
  }

  /// Changes the model, and returns the rows that may be different by that.
  @discardableResult
  mutating func apply(_ changes: some Sequence<NetworkModel.Change>) -> Set<RowKey> {
    var (changed, attached): ([NetworkModel.ObjectID], Set<NetworkModel.ObjectID>) = ([], [])
    // Changes that nobody who depends on the object can tell.
    var alone: Set<NetworkModel.ObjectID> = []
    for change in changes {
      let old = model[change.id]
      let new: NetworkModel.Object? = if case .put(let object) = change { object } else { nil }
      guard old != new else { continue }
      if case .externalNetwork(let old)? = old, case .externalNetwork(let new)? = new, old.isSameForRouters(as: new) {
        alone.insert(change.id)
      } else {
        changed.append(change.id)
      }
      for object in [old, new] {
        // A subnet's DHCP names the router, which is known to the router alone.
        guard case .router(let router)? = object else { continue }
        attached.formUnion(router.interfaces.map { .network($0.network) })
      }
      relate(change.id, old, new)
      model.apply(change)
    }
    // Who depended on an object before and does not now has changed itself.
    var affected: Set<NetworkModel.ObjectID> = []
    for id in changed { note(id, &affected) }
    affected.formUnion(attached)
    affected.formUnion(alone)
    let rendering = Rendering(model: model, attachedRouters: attachedRouters)
    var touched: Set<RowKey> = []
    for id in affected {
      let contribution = rendering.contribution(of: id)
      touched.formUnion(desired.replace(contributions[id], by: contribution))
      contributions[id] = contribution
    }
    return touched
  }

  /// The rows that an object has anything in.
  func allKeys(of id: NetworkModel.ObjectID) -> Set<RowKey> { contributions[id]?.keys ?? [] }

  /// The object and all that depend on it, by others too.
  private func note(_ id: NetworkModel.ObjectID, _ affected: inout Set<NetworkModel.ObjectID>) {
    guard affected.insert(id).inserted else { return }
    for dependent in dependents[id] ?? [] { note(dependent, &affected) }
  }

  private mutating func relate(
    _ id: NetworkModel.ObjectID, _ old: NetworkModel.Object?, _ new: NetworkModel.Object?
  ) {
    for reference in old.map(Rendering.references) ?? [] {
      dependents[reference]?.remove(id)
      if dependents[reference]?.isEmpty == true { dependents[reference] = nil }
    }
    for reference in new.map(Rendering.references) ?? [] { dependents[reference, default: []].insert(id) }
    if case .router(let router)? = old {
      for interface in router.interfaces { attachedRouters[interface.network]?.remove(router.id) }
    }
    if case .router(let router)? = new {
      for interface in router.interfaces { attachedRouters[interface.network, default: []].insert(router.id) }
    }
  }
}
