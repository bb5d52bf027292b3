-- For whom the token acted that `actor` names: tokens and users go, the record stays.
ALTER TABLE audit ADD user_id uuid;
