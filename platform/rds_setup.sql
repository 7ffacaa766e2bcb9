-- Roles and databases on a server that is there. What is there stays, and is brought to what is written here.
--
-- /run/jhaas/roles    ROLE: its password
\set ON_ERROR_STOP on
\set portal_password `cat /run/jhaas/roles/portal`
\set owner_password `cat /run/jhaas/roles/portal_owner`

SELECT 'CREATE ROLE portal LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'portal')
\gexec
SELECT 'CREATE ROLE portal_owner LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'portal_owner')
\gexec
ALTER ROLE portal PASSWORD :'portal_password';
ALTER ROLE portal_owner PASSWORD :'owner_password';
-- who makes a database for another role must be a member of it
GRANT portal_owner TO CURRENT_USER;
SELECT 'CREATE DATABASE portal OWNER portal_owner ENCODING ''UTF8'' TEMPLATE template0'
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'portal')
\gexec
REVOKE CONNECT, TEMPORARY ON DATABASE portal FROM PUBLIC;
GRANT CONNECT ON DATABASE portal TO portal;

\if :identity
\set identity_password `cat /run/jhaas/roles/authentik`
SELECT 'CREATE ROLE authentik LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'authentik')
\gexec
ALTER ROLE authentik PASSWORD :'identity_password';
GRANT authentik TO CURRENT_USER;
SELECT 'CREATE DATABASE authentik OWNER authentik ENCODING ''UTF8'' TEMPLATE template0'
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'authentik')
\gexec
REVOKE CONNECT, TEMPORARY ON DATABASE authentik FROM PUBLIC;
\endif
