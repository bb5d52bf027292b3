-- A member has no id of its own: somebody who was removed and added again must not have a revision that was there before.
CREATE SEQUENCE project_member_revisions AS bigint START 2;

ALTER TABLE project_members ALTER revision SET DEFAULT nextval('project_member_revisions');
