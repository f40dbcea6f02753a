#!/bin/sh
# Runs once, when the server is made: the login that the operator works with, which is no superuser.
set -eu
psql --username postgres --set ON_ERROR_STOP=1 --set password="$TENANTRY_ADMIN_PASSWORD" <<'SQL'
CREATE ROLE tenantry_admin LOGIN CREATEROLE CREATEDB PASSWORD :'password'
SQL
