"""Decision trees and what is made of many: forests, boosting."""
