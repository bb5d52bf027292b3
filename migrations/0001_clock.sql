-- The one clock that rules are judged by. A session may set `aloft.now` to live in another time: the simulation does.
CREATE FUNCTION aloft_now() RETURNS timestamptz
LANGUAGE sql STABLE
AS $$ SELECT coalesce(nullif(current_setting('aloft.now', true), '')::timestamptz, now()) $$;
