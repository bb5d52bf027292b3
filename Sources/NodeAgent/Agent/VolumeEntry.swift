import AloftModel

/// What the agent knows of one volume and does for it now.
struct VolumeEntry: Sendable {
  /// Nil: no longer this node's business; the entry goes as soon as nothing is done.
  var document: VolumeAssignment?
  var actual: ActualVolume?
  /// The plan, and the document that it was made for.
  var plan = VolumePlan()
  var planned: VolumeAssignment?
  var turn = Turn<VolumeStep>()

  /// What is to be told, and what the control plane has confirmed.
  var observation: VolumeObservation?
  var confirmed: VolumeObservation?
  /// Of an image that is being fetched for it, in bytes.
  var transfer: (done: Int, total: Int)?

  /// Why a guest cannot have it now.
  var problem: Observation.Problem? { turn.lastFailure?.problem ?? plan.problem }
}
