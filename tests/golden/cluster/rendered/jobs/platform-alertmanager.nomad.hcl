job "platform-alertmanager" {
  region      = "eu"
  namespace   = "observability"
  datacenters = ["fra1", "ams1"]
  type        = "service"
  node_pool   = "infrastructure"

  constraint {
    attribute = "${attr.cpu.arch}"
    operator  = "="
    value     = "amd64"
  }

  group "alertmanager" {
    update {
      max_parallel      = 1
      health_check      = "checks"
      min_healthy_time  = "10s"
      healthy_deadline  = "5m"
      progress_deadline = "10m"
      auto_revert       = true
    }

    restart {
      attempts = 3
      interval = "2m"
      delay    = "10s"
      mode     = "fail"
    }

    reschedule {
      delay          = "5s"
      delay_function = "exponential"
      max_delay      = "1m"
      unlimited      = true
    }

    network {
      mode = "host"
      port "http" {
        static = 9093
      }
    }

    volume "data" {
      type   = "host"
      source = "platform-alertmanager"
    }

    service {
      name     = "alertmanager"
      provider = "consul"
      port     = "http"
      tags     = ["obsctl.scrape"]

      meta {
        obsctl_stack    = "platform"
        nomad_namespace = "observability"
      }

      check {
        type     = "http"
        path     = "/-/ready"
        interval = "10s"
        timeout  = "2s"
      }
    }

    task "alertmanager" {
      kill_timeout = "20s"

      template {
        destination = "local/alertmanager.yml"
        data        = "{{ key \"obsctl/platform/config/alertmanager.yml\" }}"
        change_mode   = "signal"
        change_signal = "SIGHUP"
      }

      # Alertmanager reads this file at every notification, so it follows alert-sink wherever that runs, and nobody who
      # poses as alert-sink but cannot prove that it has the secret (see alert-sink's job). The secret by
      # which alert-sink knows it stands as a password: Go sends that as a header, and keeps it out of logs.
      template {
        destination = "secrets/alert-sink.url"
        change_mode = "noop"
        perms       = "0400"
        uid         = 65534
        gid         = 65534
        data        = <<-EOT
        {{- with nomadVar "nomad/jobs/platform-alertmanager" }}{{ $secret := .delivery_key }}
        {{- range service "alert-sink" }}{{ $address := printf "%s:%d" (.Address | regexReplaceAll "^(.*:.*)$" "[$1]") .Port }}
        {{- $allocation := .ID | regexReplaceAll "^_nomad-task-(.{36})-.*$" "$1" }}
        {{- $proof := printf "%s %s %s" $allocation $address $secret | sha256Hex }}
        {{- if eq (index .ServiceMeta "obsctl_proof") $proof -}}
        http://alertmanager:{{ $secret }}@{{ $address }}/webhook{{ break }}
        {{- end }}{{ end }}{{ end }}
        EOT
      }

      template {
        destination = "secrets/24x7_discord_webhook_url"
        change_mode = "noop"
        perms       = "0400"
        uid         = 65534
        gid         = 65534
        data        = "{{ with nomadVar \"nomad/jobs/platform-alertmanager\" }}{{ index . \"24x7_discord_webhook_url\" }}{{ end }}"
      }

      template {
        destination = "secrets/24x7_msteams_webhook_url"
        change_mode = "noop"
        perms       = "0400"
        uid         = 65534
        gid         = 65534
        data        = "{{ with nomadVar \"nomad/jobs/platform-alertmanager\" }}{{ index . \"24x7_msteams_webhook_url\" }}{{ end }}"
      }

      template {
        destination = "secrets/24x7_opsgenie_api_key"
        change_mode = "noop"
        perms       = "0400"
        uid         = 65534
        gid         = 65534
        data        = "{{ with nomadVar \"nomad/jobs/platform-alertmanager\" }}{{ index . \"24x7_opsgenie_api_key\" }}{{ end }}"
      }

      template {
        destination = "secrets/24x7_pushover_0_token"
        change_mode = "noop"
        perms       = "0400"
        uid         = 65534
        gid         = 65534
        data        = "{{ with nomadVar \"nomad/jobs/platform-alertmanager\" }}{{ index . \"24x7_pushover_0_token\" }}{{ end }}"
      }

      template {
        destination = "secrets/24x7_pushover_0_user_key"
        change_mode = "noop"
        perms       = "0400"
        uid         = 65534
        gid         = 65534
        data        = "{{ with nomadVar \"nomad/jobs/platform-alertmanager\" }}{{ index . \"24x7_pushover_0_user_key\" }}{{ end }}"
      }

      template {
        destination = "secrets/24x7_telegram_bot_token"
        change_mode = "noop"
        perms       = "0400"
        uid         = 65534
        gid         = 65534
        data        = "{{ with nomadVar \"nomad/jobs/platform-alertmanager\" }}{{ index . \"24x7_telegram_bot_token\" }}{{ end }}"
      }

      template {
        destination = "secrets/24x7_victorops_0_api_key"
        change_mode = "noop"
        perms       = "0400"
        uid         = 65534
        gid         = 65534
        data        = "{{ with nomadVar \"nomad/jobs/platform-alertmanager\" }}{{ index . \"24x7_victorops_0_api_key\" }}{{ end }}"
      }

      template {
        destination = "secrets/mail_email_password"
        change_mode = "noop"
        perms       = "0400"
        uid         = 65534
        gid         = 65534
        data        = "{{ with nomadVar \"nomad/jobs/platform-alertmanager\" }}{{ index . \"mail_email_password\" }}{{ end }}"
      }

      template {
        destination = "secrets/on_call_pagerduty_routing_key"
        change_mode = "noop"
        perms       = "0400"
        uid         = 65534
        gid         = 65534
        data        = "{{ with nomadVar \"nomad/jobs/platform-alertmanager\" }}{{ index . \"on_call_pagerduty_routing_key\" }}{{ end }}"
      }

      template {
        destination = "secrets/team_chat_slack_api_url"
        change_mode = "noop"
        perms       = "0400"
        uid         = 65534
        gid         = 65534
        data        = "{{ with nomadVar \"nomad/jobs/platform-alertmanager\" }}{{ index . \"team_chat_slack_api_url\" }}{{ end }}"
      }

      template {
        destination = "secrets/tickets_webhook_http_config_authorization_credentials"
        change_mode = "noop"
        perms       = "0400"
        uid         = 65534
        gid         = 65534
        data        = "{{ with nomadVar \"nomad/jobs/platform-alertmanager\" }}{{ index . \"tickets_webhook_http_config_authorization_credentials\" }}{{ end }}"
      }

      template {
        destination = "secrets/tickets_webhook_url"
        change_mode = "noop"
        perms       = "0400"
        uid         = 65534
        gid         = 65534
        data        = "{{ with nomadVar \"nomad/jobs/platform-alertmanager\" }}{{ index . \"tickets_webhook_url\" }}{{ end }}"
      }

      volume_mount {
        volume      = "data"
        destination = "/alertmanager"
      }

      driver = "docker"

      config {
        image        = "prom/alertmanager:v0.34.0"
        network_mode = "host"
        work_dir     = "/"
        args = [
          "--config.file=${NOMAD_TASK_DIR}/alertmanager.yml",
          "--storage.path=/alertmanager",
          "--web.listen-address=${NOMAD_ADDR_http}",
          "--web.external-url=http://${NOMAD_ADDR_http}/",
          "--enable-feature=receiver-name-in-metrics",
          "--cluster.listen-address=",
        ]
      }

      resources {
        cpu    = 200
        memory = 256
      }
    }
  }
}
